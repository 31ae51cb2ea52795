"""What is counted of lookups."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from predictors.features.breaker import Breaker, State
from predictors.features.cache import Cached
from predictors.features.store import FAILURES, Catalogue, FeastUnavailable, FeatureStatus, FeatureStore, Fetched
from predictors.telemetry.metrics import metrics


class FeatureCounters:
    """What became of the values that were looked up."""

    def __init__(self, name: str) -> None:
        self.of_all, self.name = metrics(), name
        self.values: dict[tuple[str, FeatureStatus], Any] = {}

    def begin(self, columns: Iterable[str]) -> None:
        """They are there from the beginning, so that rates see the first one."""
        self.values = {
            (column, status): self.of_all.feature_values.labels(self.name, column, status.value)
            for column in columns
            for status in FeatureStatus
        }

    def count(self, column: str, status: FeatureStatus, number: int) -> None:
        self.values[column, status].inc(number)


class Counted:
    """A store whose lookups are counted: how long they take, how they fail, what was kept from earlier ones."""

    def __init__(self, name: str, store: FeatureStore, breaker: Breaker, cached: Cached | None) -> None:
        of_all = metrics()
        self.store, self.breaker, self.cached = store, breaker, cached
        self.seconds = of_all.feature_lookup.labels(name)
        self.circuit = of_all.feature_circuit.labels(name)
        self.failures = {reason: of_all.feature_failures.labels(name, reason) for reason in FAILURES}
        self.hits, self.misses = (of_all.feature_cache.labels(name, result) for result in ("hit", "miss"))
        self.hits_seen = self.misses_seen = 0

    async def open(self) -> Catalogue:
        return await self.store.open()

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        begun = time.perf_counter()
        try:
            return await self.store.fetch(columns, names)
        except FeastUnavailable as error:
            self.failures[error.reason].inc()
            raise
        finally:
            self.seconds.observe(time.perf_counter() - begun)
            self.circuit.set(self.breaker.state is not State.CLOSED)
            if self.cached is not None:
                self.count_kept(self.cached)

    def count_kept(self, cached: Cached) -> None:
        self.hits.inc(cached.hits - self.hits_seen)
        self.misses.inc(cached.misses - self.misses_seen)
        self.hits_seen, self.misses_seen = cached.hits, cached.misses

    async def close(self) -> None:
        await self.store.close()
