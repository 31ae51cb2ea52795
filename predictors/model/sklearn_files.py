"""scikit-learn models as MLflow loads them, without importing MLflow: that alone takes half of a second."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from predictors.flavor import MLmodel
from predictors.runtime import garbage
from predictors.runtime.lazy_imports import defer_import
from predictors.safety import skops_files

LOADER = "mlflow.sklearn"
# cloudpickle reads with pickle itself.
PICKLED = ("pickle", "cloudpickle")
# Methods that MLflow lets a model's author choose in place of `predict`.
CHOSEN = ("predict_proba", "predict_log_proba", "predict_joint_log_proba", "score")


class Wrapper:
    """What `mlflow.sklearn` makes of a model for its pyfunc flavor."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        for name in CHOSEN:
            if function := getattr(raw, name, None):
                setattr(self, name, function)

    def get_raw_model(self) -> Any:
        return self.raw

    def predict(self, data: Any) -> Any:
        return self.raw.predict(data)


def load(mlmodel: MLmodel) -> Wrapper | None:
    """The model, or None if there is anything about it that MLflow should judge itself."""
    file = file_of(mlmodel)
    if file is None or not pickles_allowed():
        return None
    code = (mlmodel.pyfunc or mlmodel.config("sklearn")).get("code")
    if code:
        sys.path = [str(mlmodel.path / code), *sys.path]
    if find_spec("scipy") is not None:
        defer_import("scipy.stats")
    config = mlmodel.config("sklearn")
    with garbage.paused():
        import sklearn.base  # noqa: F401 - with everything else that it brings

        if config.get("serialization_format", "pickle") == "skops":
            return Wrapper(skops_files.load(file, config.get("skops_trusted_types")))
        with file.open("rb") as opened:
            return Wrapper(pickle.load(opened))  # noqa: S301 - `safety` has judged it


def file_of(mlmodel: MLmodel) -> Path | None:
    """The file of the model, where everything about it is as usual."""
    pyfunc, config = mlmodel.pyfunc, mlmodel.config("sklearn")
    metadata = mlmodel.content.get("metadata") or {}
    if config.get("serialization_format", "pickle") not in (*PICKLED, "skops"):
        return None
    if not isinstance(metadata, Mapping) or any(str(key).startswith("mlflow.") for key in metadata):
        return None
    if not pyfunc:
        name = config.get("pickled_model")
    elif (
        pyfunc.get("loader_module") == LOADER
        and not pyfunc.get("config")
        and pyfunc.get("predict_fn", "predict") in ("predict", *CHOSEN)
    ):
        name = pyfunc.get("model_path") if "data" not in pyfunc else pyfunc["data"]
    else:
        return None
    if not isinstance(name, str) or Path(name).name != name:
        return None  # in a folder of its own MLflow may find another MLmodel file beside it
    file = mlmodel.path / name
    return file if file.is_file() else None


def pickles_allowed() -> bool:
    """MLflow's own switch; it refuses skops files as well."""
    return os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true").lower() in ("true", "1")
