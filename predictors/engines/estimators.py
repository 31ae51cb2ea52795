"""Engines for scikit-learn's models and pipelines: known steps in numpy, any others without repeated checks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Declined, Engine, EngineCandidate, Run, Unsuited
from predictors.engines.forests import ensemble_of, run_trees
from predictors.engines.linear import finish_of, multiply_parts
from predictors.engines.onnx_trees import onnx_runtime_engine
from predictors.engines.steps import Step, step_of
from predictors.protocol.casting import Array


def engine_candidates(model: Any) -> list[EngineCandidate]:
    """The engines for a scikit-learn model, the most promising first."""
    return [
        EngineCandidate("onnxruntime", lambda: compiled_engine(model), compiled=True),
        EngineCandidate("numpy", lambda: numpy_engine(model)),
        EngineCandidate("sklearn", lambda: sklearn_engine(model)),
    ]


def compiled_engine(model: Any) -> Engine:
    steps, last = split_pipeline(model)
    engine = onnx_runtime_engine(last)
    if not steps:
        return engine
    return Engine(engine.name, with_steps(steps, engine.run), compiled=True)


def numpy_engine(model: Any) -> Engine:
    steps, final = split_pipeline(model)
    try:
        finish = finish_of(final)
    except Unsuited:
        thresholds = () if steps else ensemble_of(final).thresholds
        return Engine("numpy", with_steps(steps, run_trees(final)), thresholds)

    def joint(requests: Sequence[Array], probabilities: bool) -> Answer:
        sizes = [len(rows) for rows in requests]
        columnwise = not all(rows.flags.c_contiguous for rows in requests)

        def last(rows: Array, wanted: bool) -> Answer:
            rows = np.ascontiguousarray(rows)
            return finish(lambda weights: multiply_parts(rows, weights, sizes, columnwise=columnwise), wanted)

        return with_steps(steps, last)(np.concatenate(requests), probabilities)

    return Engine("numpy", with_steps(steps, lambda rows, wanted: finish(rows.__matmul__, wanted)), joint=joint)


def sklearn_engine(model: Any) -> Engine:
    steps, last = split_pipeline(model)
    return Engine("sklearn", with_steps(steps, without_checks(last)))


def split_pipeline(model: Any) -> tuple[list[Step], Any]:
    """The transformations before the final model, and the final model; there are none if `model` is no pipeline."""
    from sklearn.pipeline import Pipeline

    if type(model) is not Pipeline:
        return [], model
    *before, (_, last) = model.steps
    return [step_of(transformer) for _, transformer in before if transformer not in (None, "passthrough")], last


def with_steps(steps: Sequence[Step], last: Run) -> Run:
    def run(rows: Array, probabilities: bool) -> Answer:
        if not np.isfinite(rows).all():
            raise Declined  # the steps in numpy would not refuse it
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
