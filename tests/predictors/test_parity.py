"""The same rows over every protocol give the numbers of `mlflow.pyfunc`, for every model of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import load_model

from tests.predictors.parity import WAYS, assert_same, matrix, own_answer, plain, ways_of
from tests.serving import in_thread
from tests.zoo import BY_ID, CASES, ZooModel

ENGINED = ("sklearn", "xgboost", "lightgbm", "catboost")
DOCS = Path(__file__).parents[2] / "docs" / "parity.md"


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id, marks=[pytest.mark.slow] * case.slow) for case in CASES]
)
def test_the_same_rows_give_the_same_numbers(case: ZooModel, zoo: Callable[[str], Path]) -> None:
    folder = zoo(case.id)
    sample = case.sample()
    expected = own_answer(case, folder)
    with in_thread(folder, model_name="m") as server:
        ways = ways_of(case)
        assert ways, "no way to send the sample"
        for way in ways:
            assert_same(WAYS[way](server, sample), expected, f"{case.id} over {way}")
        assert server.get("/v2/models/m").json()["platform"] == f"mlflow_{case.flavor}"


@pytest.mark.parametrize("case", [case for case in CASES if case.flavor in ENGINED], ids=lambda case: case.id)
def test_no_engine_changes_a_number(case: ZooModel, zoo: Callable[[str], Path]) -> None:
    """What is proved with probes holds for the sample: without converted engines, and without any."""
    folder, sample, answers = zoo(case.id), case.sample(), []
    for settings in ({"engine": "auto"}, {"engine": "native"}, {"warm_up": False}):
        with in_thread(folder, model_name="m", **settings) as server:
            answers.append({way: WAYS[way](server, sample) for way in ways_of(case)})
    for way, expected in answers[0].items():
        for other in answers[1:]:
            assert_same(other[way], expected, f"{case.id} over {way}")


NETWORKS = {
    "keras-file": "tensorflow", "pytorch-pt2": "torch", "pytorch-columns": "torch", "onnx-classifier": "onnxruntime",
    "onnx-images": "onnxruntime",
}  # fmt: skip


@pytest.mark.parametrize(("case", "engine"), NETWORKS.items())
def test_the_engine_of_a_network_gives_the_bits_of_mlflow(case: str, engine: str, zoo: Callable[[str], Path]) -> None:
    """Any number of rows, missing and extreme values, one after the other and at the same time."""
    folder, model = zoo(case), BY_ID[case]
    own = load_model(str(folder))
    samples = [nasty(model.sample(), rows) for rows in (1, 2, 7, 33, 100)]
    expected = [plain(own.predict(sample)) for sample in samples]
    with in_thread(folder, model_name="m") as server, ThreadPoolExecutor(8) as threads:
        properties = server.get("/v2/models/m").json()["properties"]
        assert properties["engine"] == engine, properties
        for sample, numbers in zip(samples, expected, strict=True):
            assert_same(WAYS["V2 binary"](server, sample), numbers, f"{len(sample)} rows of {case}")
        answers = threads.map(lambda sample: WAYS["V2 binary"](server, sample), samples * 8)
        for answer, numbers in zip(answers, expected * 8, strict=True):
            assert_same(answer, numbers, f"{case} at the same time")


def nasty(sample: Any, count: int) -> Any:
    """Rows like those of the sample, some of which have values at which implementations tend to differ."""
    random = np.random.default_rng(count)
    values = random.normal(size=(count, *np.shape(sample)[1:])).astype(np.float32)
    odd = random.random(values.shape) < 0.1
    values[odd] = random.choice([np.nan, np.inf, -np.inf, 0, -0.0, 1e-40, 3e38], odd.sum())
    return pd.DataFrame(values.astype(float), columns=sample.columns) if hasattr(sample, "columns") else values


def test_the_matrix_in_the_docs_is_the_one_that_is_tested(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-docs"):
        DOCS.write_text(matrix())
    assert DOCS.read_text() == matrix(), "run: pytest tests/predictors/test_parity.py --write-docs"
