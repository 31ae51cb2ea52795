"""The same rows over every protocol give the numbers of `mlflow.pyfunc`, for every model of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.predictors.parity import WAYS, assert_same, matrix, own_answer, ways_of
from tests.serving import in_thread
from tests.zoo import CASES, ZooModel

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


def test_the_matrix_in_the_docs_is_the_one_that_is_tested(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-docs"):
        DOCS.write_text(matrix())
    assert DOCS.read_text() == matrix(), "run: pytest tests/predictors/test_parity.py --write-docs"
