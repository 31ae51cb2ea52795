"""Random pipelines over random tables: the server gives the very bits of `mlflow.pyfunc`, whichever engine serves."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from mlflow.models import ModelSignature

from predictors.engines.proof import TOLERANCE
from predictors.model.base import MLflowModel
from predictors.model.open_model import open_model
from predictors.pipeline.settings import Settings
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.errors import RequestError
from predictors.storage.source import resolve
from tests.predictors.engines.random_pipelines import FORMS, RandomPipeline, random_pipelines

PIPELINES = int(os.environ.get("RANDOM_PIPELINES", "10"))
SEED = int(os.environ.get("RANDOM_PIPELINES_SEED", "22"))
REQUESTS = [(1, 0.0), (6, 0.0), (1, 0.2), (1, 0.2), (1, 0.2), (1, 0.5), (1, 0.5), (25, 0.1)]
"""The rows of each request, and the share of its values that are odd."""
served: Counter[str] = Counter()


SEARCH = settings(
    max_examples=PIPELINES, deadline=None, database=None, suppress_health_check=[*HealthCheck], print_blob=False,
    phases=[Phase.generate],
)  # fmt: skip


@pytest.mark.parametrize("part", range(3))
def test_the_server_gives_the_bits_of_pyfunc(part: int) -> None:
    search(judge, SEED + part)


def search(check: Callable[[RandomPipeline], None], number: int) -> None:
    seed(number)(SEARCH(given(random_pipelines())(check)))()


def judge(pipeline: RandomPipeline) -> None:
    model = pipeline.fit()
    if model is None:
        served["refused by scikit-learn"] += 1
        return
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder) / "m"
        mlflow.sklearn.save_model(
            model, path, signature=ModelSignature(pipeline.table.schema), pip_requirements=[],
            serialization_format="cloudpickle",
        )  # fmt: skip
        check(pipeline, path)


def check(pipeline: RandomPipeline, path: Path) -> None:
    reference = mlflow.pyfunc.load_model(str(path))
    options = Settings(model_uri=str(path))
    served_model = open_model(options, resolve(options))
    served_model.load()
    loaded = served_model.require_loaded()
    served[loaded.choice.name] += 1
    random = np.random.default_rng(pipeline.seed + 1)
    alone: list[tuple[Any, Any]] = []
    for number, (size, odd) in enumerate(REQUESTS):
        cells = pipeline.table.cells(random, size, odd)
        batch = pipeline.table.batch(cells, FORMS[(number + pipeline.seed) % len(FORMS)])
        frame = pipeline.table.frame(cells)
        expected = answer_of(reference, frame)
        prediction = prediction_of(served_model, batch)
        assert (prediction is None) == (expected is None), f"MLflow answers {expected}, the server {prediction}"
        if prediction is None or expected is None:
            continue
        try:
            assert_same_answer(prediction, expected)
        except AssertionError:
            if repeats_itself(reference, frame, expected):
                raise
            served["the model itself is not the same twice"] += 1
        rows = loaded.engine_rows(batch)
        if rows is not None and not odd:
            alone.append((rows, prediction))
    joint = loaded.choice.proven.joint if loaded.choice.proven is not None else None
    if joint is not None and alone:
        together, _ = joint([rows for rows, _ in alone], True)
        apart = np.concatenate([prediction.result for _, prediction in alone])
        if apart.dtype.kind == "f":  # the last digits may depend on the other rows, as in docs/speed.md
            np.testing.assert_allclose(together, apart, rtol=TOLERANCE)
        else:
            np.testing.assert_array_equal(together, apart)


def prediction_of(model: MLflowModel, batch: Batch) -> Prediction | None:
    """The server's prediction; None if it refuses the request."""
    try:
        return model.predict_batch(model.require_loaded(), batch)
    except RequestError:
        return None


def repeats_itself(reference: Any, frame: pd.DataFrame, before: tuple[Any, Any]) -> bool:
    again = answer_of(reference, frame)
    return again is not None and all(map(np.array_equal, map(np.asarray, again), map(np.asarray, before)))


def answer_of(reference: Any, frame: pd.DataFrame) -> tuple[Any, Any] | None:
    """The predictions and probabilities of MLflow; None if it refuses the table."""
    raw = reference.get_raw_model()
    integers_with_nulls = [name for name in frame if frame[name].dtype == float and str(name).startswith("long")]
    try:
        # MLflow takes no nulls in columns of integers, the model does.
        labels = raw.predict(frame) if integers_with_nulls else reference.predict(frame)
        return labels, raw.predict_proba(frame) if hasattr(raw, "predict_proba") else None
    except Exception:
        return None


def assert_same_answer(prediction: Prediction, expected: tuple[Any, Any]) -> None:
    assert_same_bits(prediction.result, expected[0])
    if expected[1] is not None and prediction.probabilities is not None:
        assert_same_bits(prediction.probabilities, expected[1])


def assert_same_bits(actual: Any, expected: Any) -> None:
    if isinstance(expected, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)
        return
    np.testing.assert_array_equal(actual, expected, strict=True)
    if expected.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected))


def report(pipeline: RandomPipeline) -> None:
    """Says what is wrong, and goes on."""
    try:
        judge(pipeline)
    except Exception as error:
        served["wrong"] += 1
        sys.stdout.write(f"{type(error).__name__}: {error}\n{pipeline}\n\n")
        sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    try:
        search(report, SEED)
    finally:
        sys.stdout.write(f"{served}\n")
