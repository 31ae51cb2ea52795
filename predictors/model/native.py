"""`Native`, the model that a flavor loads from a model folder, and the loaders that flavors share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from predictors.flavor import MLmodel
from predictors.storage.tracking import has_no_store

Method: TypeAlias = Callable[[Any, Mapping[str, Any]], Any]
"""Called with the model's input and its params."""
NO_PARAMS: Final[Mapping[str, Any]] = MappingProxyType({})
"""The params of a caller who sent none, where the model has none either."""


def as_mlflow_has_them(params: Mapping[str, Any]) -> dict[str, Any] | None:
    return None if params is NO_PARAMS else dict(params)


@dataclass(frozen=True)
class Native:
    """A model as its flavor loads it: its methods, and what it knows of its inputs."""

    methods: Mapping[str, Method]
    """By name; `predict` does what `mlflow.pyfunc` would do."""
    raw: Any = None
    """The framework's own object, if there is one."""
    probabilities: Method | None = None
    """The class probabilities that may accompany the result of `predict`."""
    width: int | None = None
    """The number of columns that the model expects, if it knows."""
    names: tuple[str, ...] = ()
    """The column names that the model expects; empty if it knows none."""
    fills_missing: bool = False
    """Whether a column that is not there is one of missing values to the model."""
    default: str = "predict"
    """The method for requests that name none."""
    blames_input: bool = False
    """Whether a ValueError, TypeError or KeyError of this model is about its input, rather than a bug in the model."""


def load_pyfunc(mlmodel: MLmodel) -> Any:
    """The model as `mlflow.pyfunc` loads it."""
    import mlflow.pyfunc

    load = mlflow.pyfunc.load_model
    if has_no_store():  # the traces of agents would begin one
        mlflow.tracing.disable()
        # Where traces are off, its wrapper holds a lock while it loads: a load that hangs would hold up all others.
        load = inspect.unwrap(load)
    return load(str(mlmodel.path), suppress_warnings=True)


def implementation_of(mlmodel: MLmodel, flavor: str) -> Any:
    """The flavor's own wrapper of the model, which `mlflow.pyfunc` would call."""
    if mlmodel.pyfunc:
        return load_pyfunc(mlmodel)._model_impl
    return RawWrapper(import_module(f"mlflow.{flavor}").load_model(str(mlmodel.path)))


@dataclass(frozen=True)
class RawWrapper:
    """Wraps a model that MLflow saved without a pyfunc flavor, such as a transformer of scikit-learn."""

    raw: Any

    def get_raw_model(self) -> Any:
        return self.raw

    def predict(self, data: Any) -> Any:
        return self.raw.predict(data)
