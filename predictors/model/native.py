"""What a flavor makes of a model folder: its methods, and the pieces that flavors build them from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

from predictors.flavor import MLmodel

Method: TypeAlias = Callable[[Any, Mapping[str, Any]], Any]
"""Takes the model's input and its params."""


@dataclass(frozen=True)
class Native:
    """A model as its flavor loads it: what it can do, and what it says about its inputs."""

    methods: Mapping[str, Method]
    """By name; `predict` is what `mlflow.pyfunc` would do."""
    raw: Any = None
    """The framework's own object, where there is one."""
    probabilities: Method | None = None
    """Class probabilities to send along with `predict`."""
    width: int | None = None
    names: tuple[str, ...] = ()
    default: str = "predict"
    """The method of a request that names none."""
    blames_input: bool = False
    """A ValueError of this model is about the values it was given, not a bug in it."""


def load_pyfunc(mlmodel: MLmodel) -> Any:
    """The model as `mlflow.pyfunc` loads it."""
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(mlmodel.path), suppress_warnings=True)


def implementation_of(mlmodel: MLmodel, flavor: str) -> Any:
    """The flavor's own wrapper, as `mlflow.pyfunc` would call it."""
    if mlmodel.pyfunc:
        return load_pyfunc(mlmodel)._model_impl
    return Bare(import_module(f"mlflow.{flavor}").load_model(str(mlmodel.path)))


@dataclass(frozen=True)
class Bare:
    """A model that MLflow saved without a pyfunc flavor, such as a transformer of scikit-learn."""

    raw: Any

    def get_raw_model(self) -> Any:
        return self.raw

    def predict(self, data: Any) -> Any:
        return self.raw.predict(data)


def pyfunc_method(mlmodel: MLmodel, implementation: Any) -> Method:
    """`predict` as `mlflow.pyfunc` does it, without its own enforcement: the plan has done that."""
    function = getattr(implementation, mlmodel.pyfunc.get("predict_fn", "predict"))
    params = inspect.signature(function).parameters.get("params")
    if params is not None and params.kind is not params.VAR_KEYWORD:
        return lambda data, params: function(data, params=dict(params) or None)
    return lambda data, params: function(data)


def native_methods(raw: Any, names: tuple[str, ...]) -> dict[str, Method]:
    """Those of the framework's own methods that this model really has."""
    return {name: without_params(getattr(raw, name)) for name in names if callable(getattr(raw, name, None))}


def without_params(function: Callable[[Any], Any]) -> Method:
    return lambda data, params: function(data)
