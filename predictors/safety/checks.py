"""Checks that loading a model does only what the operator allows.

File names in the MLmodel file and links in the model folder that lead out of the folder are always refused.

`--allow-code-execution=false` refuses everything that runs code of the artifact, and names the file or the key. Which
models pass is told by the module of each format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from predictors.safety.boosters import check_catboost, check_lightgbm, check_xgboost
from predictors.safety.keras import check_tensorflow
from predictors.safety.model_files import MLMODEL, NEVER, ModelFiles, Policy, UnsafeModel, refuse
from predictors.safety.onnx import check_onnx
from predictors.safety.paths import check_paths
from predictors.safety.pytorch import check_pytorch
from predictors.safety.skops_types import SKOPS_FLAVORS, check_sklearn
from predictors.safety.transformers import check_remote_code, check_transformers

CHECKS: Mapping[str, Callable[[ModelFiles], None]] = {
    "xgboost": check_xgboost,
    "lightgbm": check_lightgbm,
    "catboost": check_catboost,
    "sklearn": check_sklearn,
    "pytorch": check_pytorch,
    "tensorflow": check_tensorflow,
    "transformers": check_transformers,
    "onnx": check_onnx,
}
# MLflow's pyfunc loaders, and the flavor whose checks apply to each. Any other loader is refused.
LOADERS = {f"mlflow.{flavor}": flavor for flavor in CHECKS} | {"mlflow.keras": "tensorflow"}


def check(path: Path, mlmodel: Mapping[str, Any], flavor: str, policy: Policy) -> None:
    """Raises `UnsafeModel` if loading the model with this flavor could do something that the policy does not allow."""
    folder = path.resolve()
    check_paths(folder, mlmodel)
    model = ModelFiles(folder, mlmodel.get("flavors") or {}, flavor, policy)
    if flavor == "pyfunc":  # the loader decides what happens, whatever flavor the operator chose
        model = ModelFiles(folder, model.flavors, LOADERS.get(model.loader, flavor), policy)
    if policy.allow_code_execution and (model.flavor not in SKOPS_FLAVORS or policy.skops_trusted is None):
        return
    try:
        check_model_code(model)
        if model.flavor == "transformers":
            check_remote_code(model, MLMODEL, mlmodel)
        CHECKS[model.flavor](model)
    except UnsafeModel:
        raise
    except Exception as error:
        refuse(f"the {flavor} model", f"its files cannot be checked ({type(error).__name__}: {error})", NEVER)


def check_model_code(model: ModelFiles) -> None:
    for section, config in (("python_function", model.pyfunc), (model.flavor, model.config)):
        for key in ("code", "code_paths", "python_model", "model_code_path"):
            if config.get(key):
                model.refuse_code(f"{section}.{key} {config[key]!r} in {MLMODEL}", "it is code of the model")
    if LOADERS.get(model.loader) != model.flavor:
        why = "MLflow imports it to load the model, and it may run code of the model"
        model.refuse_code(f"python_function.loader_module {model.loader!r} in {MLMODEL}", why)
    # Loaders read the MLmodel file beside the data, so a second one would take effect unchecked.
    for second in model.folder.rglob(MLMODEL):
        if second.parent != model.folder:
            model.refuse_code(
                model.describe(second), f"MLflow may read it instead of the {MLMODEL} file that is checked"
            )
