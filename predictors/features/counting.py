"""What is counted of lookups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from predictors.features.store import FAILURES, Status
from predictors.metrics import metrics


class FeatureCounters:
    """What is counted for every lookup of features, looked up once."""

    def __init__(self, name: str) -> None:
        self.of_all, self.name = metrics(), name
        self.seconds = self.of_all.feature_lookup.labels(name)
        self.hits, self.misses = (self.of_all.feature_cache.labels(name, result) for result in ("hit", "miss"))
        self.circuit = self.of_all.feature_circuit.labels(name)
        self.values: dict[tuple[str, Status], Any] = {}

    def begin(self, columns: Iterable[str]) -> None:
        """They are there from the beginning, so that rates see the first one."""
        self.values = {
            (column, status): self.of_all.feature_values.labels(self.name, column, status.value)
            for column in columns
            for status in Status
        }
        for reason in FAILURES:
            self.of_all.feature_failures.labels(self.name, reason)

    def count(self, column: str, status: Status, number: int) -> None:
        self.values[column, status].inc(number)

    def failed(self, reason: str) -> None:
        self.of_all.feature_failures.labels(self.name, reason).inc()
