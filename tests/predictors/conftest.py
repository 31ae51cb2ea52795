"""Servers that several test files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.predictors.watched import SpiedBatcher
from tests.serving import Running, in_thread


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    """The embedded demo model: four named columns, a classifier."""
    with in_thread(None, max_body=200_000) as server:
        yield server


@pytest.fixture(scope="module")
def mixed(zoo: Callable[[str], Path]) -> Iterator[Running]:
    """Columns of several types: amount (double), count (long), member (boolean), city (string)."""
    with in_thread(zoo("sklearn-pipeline-mixed-columns"), model_name="mixed") as server:
        yield server


@pytest.fixture(scope="module")
def moments(zoo: Callable[[str], Path]) -> Iterator[Running]:
    """at (datetime), data (binary), maybe (optional double)."""
    with in_thread(zoo("pyfunc-datetime-binary-optional"), model_name="moments") as server:
        yield server


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpiedBatcher]:
    spied = SpiedBatcher()
    monkeypatch.setattr("predictors.pipeline.served_models.MicroBatcher", spied.batcher)
    yield spied
    spied.gate.set()
