"""Loads scikit-learn models as MLflow does, but without importing MLflow, which takes half a second."""

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
# Both are read with `pickle`.
PICKLE_FORMATS = ("pickle", "cloudpickle")
# The methods that a model's author may choose in place of `predict`.
PREDICT_FUNCTIONS = ("predict_proba", "predict_log_proba", "predict_joint_log_proba", "score")


class Wrapper:
    """A model as `mlflow.sklearn` wraps it for its pyfunc flavor."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        for name in PREDICT_FUNCTIONS:
            if function := getattr(raw, name, None):
                setattr(self, name, function)

    def get_raw_model(self) -> Any:
        return self.raw

    def predict(self, data: Any) -> Any:
        return self.raw.predict(data)


def load(mlmodel: MLmodel) -> Wrapper | None:
    """The model; None if anything about it is unusual, so that MLflow itself has to load or refuse it."""
    file = model_file(mlmodel)
    if file is None or not pickle_allowed():
        return None
    code = (mlmodel.pyfunc or mlmodel.config("sklearn")).get("code")
    if code:
        sys.path = [str(mlmodel.path / code), *sys.path]
    if find_spec("scipy") is not None:
        defer_import("scipy.stats")
    config = mlmodel.config("sklearn")
    with garbage.paused():
        import sklearn.base  # noqa: F401 - imported here so that it happens with garbage collection paused

        if config.get("serialization_format", "pickle") == "skops":
            return Wrapper(skops_files.load(file, config.get("skops_trusted_types")))
        with file.open("rb") as opened:
            return Wrapper(pickle.load(opened))  # noqa: S301 - `safety` has checked it


def model_file(mlmodel: MLmodel) -> Path | None:
    """The file of the model; None if anything about it is unusual."""
    pyfunc, config = mlmodel.pyfunc, mlmodel.config("sklearn")
    metadata = mlmodel.content.get("metadata") or {}
    if config.get("serialization_format", "pickle") not in (*PICKLE_FORMATS, "skops"):
        return None
    if not isinstance(metadata, Mapping) or any(str(key).startswith("mlflow.") for key in metadata):
        return None
    if not pyfunc:
        name = config.get("pickled_model")
    elif (
        pyfunc.get("loader_module") == LOADER
        and not pyfunc.get("config")
        and pyfunc.get("predict_fn", "predict") in ("predict", *PREDICT_FUNCTIONS)
    ):
        name = pyfunc.get("model_path") if "data" not in pyfunc else pyfunc["data"]
    else:
        return None
    if not isinstance(name, str) or Path(name).name != name:
        return None  # in a subfolder there may be another MLmodel file, which MLflow would read
    file = mlmodel.path / name
    return file if file.is_file() else None


def pickle_allowed() -> bool:
    """Whether MLflow's own switch allows pickles; MLflow applies it to skops files too."""
    return os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true").lower() in ("true", "1")
