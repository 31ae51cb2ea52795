"""scikit-learn's models and pipelines as engines: known steps in numpy, the others asked without repeated checks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Declined, Engine, EngineCandidate, Run, Unsuited
from predictors.engines.forests import by_onnx_runtime, by_trees, ensemble_of
from predictors.engines.linear import linear, part_by_part
from predictors.protocol.casting import Array

Step = Callable[[Array], Array]


def candidates(model: Any) -> list[EngineCandidate]:
    """The engines for a scikit-learn model, the most promising first."""
    return [
        EngineCandidate("onnxruntime", lambda: compiled(model), compiled=True),
        EngineCandidate("numpy", lambda: in_numpy(model)),
        EngineCandidate("sklearn", lambda: by_itself(model)),
    ]


def compiled(model: Any) -> Engine:
    steps, last = parts(model)
    engine = by_onnx_runtime(last)
    if not steps:
        return engine
    return Engine(engine.name, chained(steps, engine.run), compiled=True)


def in_numpy(model: Any) -> Engine:
    steps, final = parts(model)
    try:
        finish = linear(final)
    except Unsuited:
        thresholds = () if steps else ensemble_of(final).thresholds
        return Engine("numpy", chained(steps, by_trees(final)), thresholds)

    def joint(requests: Sequence[Array], probabilities: bool) -> Answer:
        sizes = [len(rows) for rows in requests]
        columnwise = not all(rows.flags.c_contiguous for rows in requests)

        def last(rows: Array, wanted: bool) -> Answer:
            rows = np.ascontiguousarray(rows)
            return finish(lambda weights: part_by_part(rows, weights, sizes, columnwise=columnwise), wanted)

        return chained(steps, last)(np.concatenate(requests), probabilities)

    return Engine("numpy", chained(steps, lambda rows, wanted: finish(rows.__matmul__, wanted)), joint=joint)


def by_itself(model: Any) -> Engine:
    steps, last = parts(model)
    return Engine("sklearn", chained(steps, without_checks(last)))


def parts(model: Any) -> tuple[list[Step], Any]:
    """The transformations before a model, and the model; both are the model itself where it is no pipeline."""
    from sklearn.pipeline import Pipeline

    if type(model) is not Pipeline:
        return [], model
    *before, (_, last) = model.steps
    return [step_of(one) for _, one in before if one not in (None, "passthrough")], last


def chained(steps: Sequence[Step], last: Run) -> Run:
    def run(rows: Array, probabilities: bool) -> Answer:
        if not np.isfinite(rows).all():
            raise Declined  # the steps in numpy would let it pass
        for step in steps:
            rows = step(rows)
        return last(rows, probabilities)

    return run


def without_checks(model: Any) -> Run:
    from sklearn import config_context

    warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
    predict = model.predict
    predict_proba = getattr(model, "predict_proba", None)

    def run(rows: Array, probabilities: bool) -> Answer:
        with config_context(skip_parameter_validation=True):
            return predict(rows), predict_proba(rows) if probabilities and predict_proba else None

    return run


def step_of(transformer: Any) -> Step:
    """A transformation as a function; those of numbers by their own operations, any other as it is."""
    from sklearn import config_context
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    kind = type(transformer)
    if kind is StandardScaler:
        return standard(transformer.mean_ if transformer.with_mean else None, transformer.scale_)
    if kind is RobustScaler:
        return in_place(
            (np.subtract, transformer.center_ if transformer.with_centering else None),
            (np.divide, transformer.scale_ if transformer.with_scaling else None),
        )
    if kind is MaxAbsScaler and not getattr(transformer, "clip", False):
        return in_place((np.divide, transformer.scale_))
    if kind is MinMaxScaler and not transformer.clip:
        return in_place((np.multiply, transformer.scale_), (np.add, transformer.min_))

    def step(rows: Array) -> Array:
        with config_context(skip_parameter_validation=True):
            made = transformer.transform(rows)
        if not isinstance(made, np.ndarray):
            raise Declined
        return made

    return step


def standard(mean: Array | None, scale: Array | None) -> Step:
    """In the precision of the rows."""

    def step(rows: Array) -> Array:
        if mean is not None:
            rows = rows - mean.astype(rows.dtype)
        return rows if scale is None else rows / scale.astype(rows.dtype)

    return step


def in_place(*operations: tuple[np.ufunc, Array | None]) -> Step:
    """In double precision, kept in that of the rows after each operation."""

    def step(rows: Array) -> Array:
        rows = rows.copy()
        for operation, values in operations:
            if values is not None:
                operation(rows, values, out=rows, casting="same_kind")
        return rows

    return step
