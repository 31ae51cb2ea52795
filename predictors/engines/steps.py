"""scikit-learn's transformations of numbers as functions, without repeated checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from predictors.engines.engine import Declined
from predictors.protocol.casting import Array

Step: TypeAlias = Callable[[Array], Array]


def step_of(transformer: Any) -> Step:
    """A transformation as a function: scalers by their operations in numpy, any other by its `transform`."""
    from sklearn import config_context
    from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
    from sklearn.utils import check_array

    kind = type(transformer)
    if kind is StandardScaler:
        return standardize(transformer.mean_ if transformer.with_mean else None, transformer.scale_)
    if kind is RobustScaler:
        return apply_in_place(
            (np.subtract, transformer.center_ if transformer.with_centering else None),
            (np.divide, transformer.scale_ if transformer.with_scaling else None),
        )
    if kind is MaxAbsScaler and not getattr(transformer, "clip", False):
        return apply_in_place((np.divide, transformer.scale_))
    if kind is FunctionTransformer and getattr(transformer.func, "func", None) is check_array:  # HistGradientBoosting's
        return lambda rows: rows.astype(np.float64, copy=False)
    if kind is MinMaxScaler and not transformer.clip:
        return apply_in_place((np.multiply, transformer.scale_), (np.add, transformer.min_))

    def step(rows: Array) -> Array:
        with config_context(skip_parameter_validation=True):
            transformed = transformer.transform(rows)
        if not isinstance(transformed, np.ndarray):
            raise Declined
        return transformed

    return step


def standardize(mean: Array | None, scale: Array | None) -> Step:
    """Scaling whose parameters are converted to the precision of the rows."""

    def step(rows: Array) -> Array:
        if mean is not None:
            rows = rows - mean.astype(rows.dtype)
        return rows if scale is None else rows / scale.astype(rows.dtype)

    return step


def apply_in_place(*operations: tuple[np.ufunc, Array | None]) -> Step:
    """Operations in double precision, each of which stores its result in the precision of the rows."""

    def step(rows: Array) -> Array:
        rows = rows.copy()
        for operation, values in operations:
            if values is not None:
                operation(rows, values, out=rows, casting="same_kind")
        return rows

    return step
