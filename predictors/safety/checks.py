"""Checks that loading a model does only what the operator allows.

File names in the MLmodel file and links in the model folder that lead out of the folder are always refused.

`--allow-code-execution=false` refuses everything that runs code of the artifact, and names the file or the key. `check`
decides; `guarded_load` adds MLflow's own refusal of pickles where it helps. These models pass:

- xgboost (ubj, json): MLflow imports `model_class`, so only XGBoost's own model classes pass.
- catboost (cbm, json, onnx) and the text of a LightGBM Booster: parsed by the library, nothing is imported.
- skops (sklearn, lightgbm): every type in the file that skops does not trust must be in `--skops-trusted`. skops
  trusts no decision trees (a crafted one can crash the process): operators add `sklearn.tree._tree.Tree`. Four
  types of LightGBM's scikit-learn interface are trusted in the lightgbm flavor alone, as in MLflow: restoring them
  sets attributes and lets LightGBM parse the text of its Booster.
- pytorch: pt2 archives. MLflow's check that they hold no pickles is not enough: torch evaluates expressions and
  guards in the archive's JSON as Python, so only known operators, plain names and arithmetic may be in it.
- tensorflow: .keras files, which Keras loads in its safe mode; their configuration may name only parts of Keras.
  Not HDF5 (its Lambda layers hold bytecode), nor SavedModels (their graphs may write files while they are loaded).
- transformers: safetensors, without Python files and without references to code or to files elsewhere.
- onnx: execution providers by name, without options (some of them name shared libraries to load).

`--skops-trusted` alone restricts skops files to the operator's list, which the list in the MLmodel file cannot extend.
It does not affect models in other formats: a pickle still loads unless code execution is refused as well.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, NoReturn
from zipfile import ZipFile

from predictors.safety import skops_files
from predictors.safety.pt2 import unsafe_texts, walk_entries

MLMODEL = "MLmodel"
PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
ALLOW = "--allow-code-execution=true would allow it"
NEVER = "no setting allows it"
SKOPS_FLAVORS = ("sklearn", "lightgbm")
# Keys of the MLmodel file whose values MLflow or this product appends to the model folder.
PATHS = (
    *("data", "model_path", "pickled_model", "model_data", "model_binary", "saved_model_dir", "code", "code_paths"),
    *("python_model", "peft_adaptor", "components", "serialized_explainer", "artifact_path", "serving_input_path"),
)
PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill")
NOT_SAFETENSORS = (*PICKLES, ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".py")
LIGHTGBM_TYPES = {"collections.OrderedDict", "lightgbm.basic.Booster"}
LIGHTGBM_TYPES |= {"lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor"}
XGBOOST_CLASS = re.compile(r"xgboost\.(core\.|sklearn\.)?(Booster|XGB(RF)?(Model|Classifier|Regressor|Ranker))")
CATBOOST = {
    "model_type": ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"),
    "save_format": ("cbm", "json", "onnx", None),
}
ONNX_OPTION = re.compile(r"session\.(intra|inter)_op\.\w+")
# Layers that hold bytecode, a SavedModel or a pickle; and the modules of Keras that a model may name.
KERAS_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper")
KERAS_MODULE = re.compile(r"builtins|keras(\.(?!utils\b|config\b|saving\b)\w+)*")
# Keys and names of parameters that make Hugging Face's libraries fetch and import Python files.
REMOTE_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code")
VOCABULARIES = ("tokenizer.json", "vocab.json")


@dataclass(frozen=True)
class Policy:
    """The operator's settings."""

    allow_code_execution: bool = True
    skops_trusted: frozenset[str] | None = None
    """None if the operator gave no list."""


class UnsafeModel(Exception):
    """The model is refused; the message is one line for the operator."""


def refuse(what: str, why: str, setting: str = ALLOW) -> NoReturn:
    raise UnsafeModel(" ".join(f"{what} is refused: {why}; {setting}".split()))


@dataclass(frozen=True)
class ModelFiles:
    """A model that is about to be loaded, and the policy for it."""

    folder: Path
    flavors: Mapping[str, Any]
    flavor: str
    policy: Policy

    def section(self, name: str) -> Mapping[str, Any]:
        config = self.flavors.get(name)
        return config if isinstance(config, Mapping) else {}

    @property
    def pyfunc(self) -> Mapping[str, Any]:
        return self.section("python_function")

    @property
    def config(self) -> Mapping[str, Any]:
        return self.section(self.flavor)

    @property
    def loader(self) -> str:
        return str(self.pyfunc.get("loader_module", f"mlflow.{self.flavor}"))

    def describe(self, file: Path) -> str:
        return f"file {file.relative_to(self.folder).as_posix()}"

    def refuse_code(self, what: str, why: str) -> None:
        """Refuses something that runs code, unless the policy allows it."""
        if not self.policy.allow_code_execution:
            refuse(what, why)

    def files(self, *keys: str) -> list[Path]:
        """The files under these keys of the flavor and of pyfunc. MLflow loads one of them, so all have to be safe."""
        named = [section.get(key) for section in (self.pyfunc, self.config) for key in keys]
        files = [self.folder / str(name) for name in dict.fromkeys(filter(None, named))]
        if not files:
            self.refuse_code(f"the {self.flavor} model", f"{MLMODEL} does not name its file ({', '.join(keys)})")
        for file in files:
            if file.suffix in PICKLES:
                self.refuse_code(self.describe(file), "a pickle runs code when it is loaded")
        return files


def check(path: Path, mlmodel: Mapping[str, Any], flavor: str, policy: Policy) -> None:
    """Raises `UnsafeModel` if loading the model with this flavor could do something that the policy does not allow."""
    folder = path.resolve()
    check_links(folder)
    for key, name in paths_in(mlmodel):
        if escapes(folder, name):
            refuse(f"{key} {name!r} in {MLMODEL}", "it leads out of the model folder", NEVER)
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


@contextmanager
def guarded_load(flavor: str, policy: Policy) -> Iterator[None]:
    """Makes MLflow refuse pickles while a checked model is loaded. Its switch is global: load one model at a time.

    MLflow treats skops files as pickles, so the switch is left alone for flavors that may use skops.
    """
    if policy.allow_code_execution or flavor in (*SKOPS_FLAVORS, "pyfunc"):
        yield
        return
    before = os.environ.get(PICKLE_SWITCH)
    os.environ[PICKLE_SWITCH] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(PICKLE_SWITCH, None)
        else:
            os.environ[PICKLE_SWITCH] = before


def check_links(folder: Path) -> None:
    for parent, folders, files in os.walk(folder):
        for entry in (Path(parent, name) for name in (*folders, *files)):
            if entry.is_symlink() and not entry.resolve().is_relative_to(folder):
                refuse(f"link {entry.relative_to(folder)}", "it leads out of the model folder", NEVER)


def paths_in(mlmodel: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    example = "saved_input_example_info"
    for section, config in {**(mlmodel.get("flavors") or {}), example: mlmodel.get(example)}.items():
        if not isinstance(config, Mapping):
            continue
        artifacts = config.get("artifacts")
        named = [(key, config.get(key)) for key in PATHS]
        if isinstance(artifacts, Mapping):
            named += [
                ("artifacts", artifact.get("path")) for artifact in artifacts.values() if isinstance(artifact, Mapping)
            ]
        for key, value in named:
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str):
                    yield f"{section}.{key}", name


def escapes(folder: Path, name: str) -> bool:
    windows = PureWindowsPath(name)  # takes both slashes
    if windows.anchor or ".." in windows.parts or "\0" in name:
        return True
    return not (folder / name).resolve().is_relative_to(folder)


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


def check_sklearn(model: ModelFiles) -> None:
    check_skops(model, model.files("data", "model_path", "pickled_model"), set(), default="pickle")


def check_lightgbm(model: ModelFiles) -> None:
    files = model.files("data")
    if model.config.get("model_class", "lightgbm.basic.Booster") != "lightgbm.basic.Booster":
        check_skops(model, files, LIGHTGBM_TYPES, default="cloudpickle")


def check_skops(model: ModelFiles, files: list[Path], trusted: set[str], default: str) -> None:
    written_as = model.config.get("serialization_format", default)
    if written_as != "skops":
        what = f"serialization_format {written_as!r} of {', '.join(map(model.describe, files))}"
        model.refuse_code(what, "it runs code when it is loaded")
        return
    for file in files:
        try:
            types = skops_files.untrusted_types(file)
        except Exception as error:
            why = f"skops cannot tell which types it holds ({type(error).__name__}: {error})"
            refuse(model.describe(file), why, NEVER)
        unknown = sorted({*types} - trusted - (model.policy.skops_trusted or set()))
        if unknown:
            why = f"it holds types that the operator does not trust: {', '.join(unknown)}"
            refuse(model.describe(file), why, f"--skops-trusted {','.join(unknown)} would allow it")


def check_xgboost(model: ModelFiles) -> None:
    model.files("data")
    name = str(model.config.get("model_class", "xgboost.core.Booster"))
    if not XGBOOST_CLASS.fullmatch(name):
        model.refuse_code(f"xgboost.model_class {name!r} in {MLMODEL}", "MLflow imports and calls it")


def check_catboost(model: ModelFiles) -> None:
    model.files("data", "model_binary")
    for key, known in CATBOOST.items():
        if model.config.get(key) not in known:
            model.refuse_code(f"catboost.{key} {model.config.get(key)!r} in {MLMODEL}", "it is not known to be safe")


def check_onnx(model: ModelFiles) -> None:
    model.files("data")
    providers = model.config.get("providers") or []
    for provider in [providers] if isinstance(providers, str) else providers:
        if not isinstance(provider, str):
            model.refuse_code(f"onnx.providers {provider!r} in {MLMODEL}", "options may name libraries to load")
    for key in (model.config.get("onnx_session_options") or {}).get("extra_session_config") or {}:
        if not ONNX_OPTION.fullmatch(str(key)):
            model.refuse_code(f"onnx extra_session_config {key!r} in {MLMODEL}", "it is not known to be safe")


def check_transformers(model: ModelFiles) -> None:
    for key in ("source_model_revision", "local_base_model_path"):
        if key in model.config:
            model.refuse_code(f"transformers.{key} in {MLMODEL}", "it loads a model from outside of the model folder")
    for file in sorted(model.folder.rglob("*")):
        if file.suffix in NOT_SAFETENSORS:
            model.refuse_code(model.describe(file), "it is not safetensors and may run code when it is loaded")
        if (file.suffix == ".json" and file.name not in VOCABULARIES) or file.name == "inference_config.txt":
            check_remote_code(model, model.describe(file), json.loads(file.read_bytes()))


def check_remote_code(model: ModelFiles, where: str, document: Any) -> None:
    for key, value in walk_entries(document):
        if (key in REMOTE_CODE and value) or (key == "name" and value in REMOTE_CODE):
            model.refuse_code(f"{key} {value!r} in {where}", "it makes transformers import Python files")
        if key.endswith("_implementation") and "/" in str(value):
            model.refuse_code(f"{key} {value!r} in {where}", "it makes transformers load a kernel from elsewhere")


def check_tensorflow(model: ModelFiles) -> None:
    config = model.section("keras" if "keras" in model.flavors else "tensorflow")
    kind = config.get("model_type", "keras" if "keras" in model.flavors else "tf1-estimator")
    if kind != "keras" or config.get("save_exported_model"):
        model.refuse_code(f"a SavedModel (model_type {kind!r} in {MLMODEL})", "its graph may read and write files")
    data = model.folder / str(model.pyfunc.get("data", ""))
    if model.loader == "mlflow.keras":
        data /= str(config.get("data", "model"))
    for pickled in (data / "custom_objects.cloudpickle", data / "global_custom_objects.cloudpickle"):
        if pickled.exists():
            model.refuse_code(model.describe(pickled), "a pickle runs code when it is loaded")
    module, written_as = (read_text(data / name) for name in ("keras_module.txt", "save_format.txt"))
    if module not in (None, "keras", "tensorflow.keras"):
        model.refuse_code(f"{module!r} in {model.describe(data / 'keras_module.txt')}", "MLflow imports it")
    archive = data / "model.keras"
    if model.loader == "mlflow.tensorflow" and written_as in (None, "h5"):
        model.refuse_code(
            model.describe(data / "model.h5"), "Lambda layers in HDF5 files run code when they are loaded"
        )
    if not archive.is_file():
        model.refuse_code(model.describe(data), "it holds no .keras file, and other formats may run code when loaded")
    with ZipFile(archive) as zip_file:
        document = json.loads(zip_file.read("config.json"))
    for key, value in walk_entries(document):
        if key == "class_name" and value in KERAS_CODE:
            model.refuse_code(f"layer {value} in {model.describe(archive)}", "it runs code of the model")
        if key == "module" and isinstance(value, str) and not KERAS_MODULE.fullmatch(value):
            model.refuse_code(f"module {value!r} in {model.describe(archive)}", "it is no part of a Keras model")


def check_pytorch(model: ModelFiles) -> None:
    for data in model.files("data", "model_data"):
        archive, pickled = data / "model.pt2", data if data.is_file() else data / "model.pth"
        if pickled.exists():
            model.refuse_code(model.describe(pickled), "torch.load runs code of pickles and of TorchScript")
        if not archive.is_file():
            model.refuse_code(model.describe(data), "it holds no pt2 archive")
        check_pt2(model, archive)


def check_pt2(model: ModelFiles, archive: Path) -> None:
    try:
        from mlflow.pytorch import _validate_pt2_archive_is_pickle_free as check_archive

        check_archive(str(archive))
    except Exception as error:
        why = f"MLflow does not prove it free of pickles ({str(error).split('. ')[0]})"
        model.refuse_code(model.describe(archive), why)
    with ZipFile(archive) as zip_file:
        for record in zip_file.infolist():
            text = next(unsafe_texts(record.filename, zip_file.read(record)), None)
            if text is not None:
                why = f"torch may run it as Python: {text[:200]!r}"
                model.refuse_code(f"record {record.filename} in {model.describe(archive)}", why)


def read_text(file: Path) -> str | None:
    return file.read_text(errors="replace") if file.is_file() else None


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
