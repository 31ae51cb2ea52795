"""Methods of native models: MLflow's and the framework's own, and the adapters that several flavors need."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from predictors.engines.classes import both_classes
from predictors.flavor import MLmodel
from predictors.model.native import Method, as_mlflow_has_them


def pyfunc_method(mlmodel: MLmodel, implementation: Any) -> Method:
    """`predict` as `mlflow.pyfunc` calls it, but without its schema enforcement, which the signature plan has done."""
    function = getattr(implementation, mlmodel.pyfunc.get("predict_fn", "predict"))
    params = inspect.signature(function).parameters.get("params")
    if params is not None and params.kind is not params.VAR_KEYWORD:
        return lambda data, params: function(data, params=as_mlflow_has_them(params))
    return lambda data, params: function(data)


def native_methods(raw: Any, names: tuple[str, ...]) -> dict[str, Method]:
    """The framework's own methods of these names, as far as this model has them."""
    return {name: without_params(getattr(raw, name)) for name in names if callable(getattr(raw, name, None))}


def without_params(function: Callable[[Any], Any]) -> Method:
    return lambda data, params: function(data)


def class_probabilities(predict: Method) -> Method:
    """The predictions of a model as class probabilities; for two classes the model may give only the second's."""

    def run(data: Any, params: Mapping[str, Any]) -> Any:
        return both_classes(np.asarray(predict(data, params)))

    return run
