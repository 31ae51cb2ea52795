"""Metrics of lookups."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from predictors.features.breaker import Breaker, State
from predictors.features.cache import CachedStore
from predictors.features.store import FAILURES, Catalogue, FeastUnavailable, FeatureStatus, FeatureStore, Fetched
from predictors.telemetry.metrics import metrics


class FeatureCounters:
    """Counts looked-up values by their status."""

    def __init__(self, name: str) -> None:
        self.registry, self.name = metrics(), name
        self.values: dict[tuple[str, FeatureStatus], Any] = {}

    def begin(self, columns: Iterable[str]) -> None:
        """Creates all counters with 0, so that rates include the first value."""
        self.values = {
            (column, status): self.registry.feature_values.labels(self.name, column, status.value)
            for column in columns
            for status in FeatureStatus
        }

    def count(self, column: str, status: FeatureStatus, number: int) -> None:
        self.values[column, status].inc(number)


class MeteredStore:
    """A store with metrics: durations, failures, the state of the circuit, hits and misses of the cache."""

    def __init__(self, name: str, store: FeatureStore, breaker: Breaker, cached: CachedStore | None) -> None:
        registry = metrics()
        self.store, self.breaker, self.cached = store, breaker, cached
        self.seconds = registry.feature_lookup.labels(name)
        self.circuit = registry.feature_circuit.labels(name)
        self.failures = {reason: registry.feature_failures.labels(name, reason) for reason in FAILURES}
        self.hits, self.misses = (registry.feature_cache.labels(name, result) for result in ("hit", "miss"))
        self.counted_hits = self.counted_misses = 0

    async def open(self) -> Catalogue:
        return await self.store.open()

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        started = time.perf_counter()
        try:
            return await self.store.fetch(columns, names)
        except FeastUnavailable as error:
            self.failures[error.reason].inc()
            raise
        finally:
            self.seconds.observe(time.perf_counter() - started)
            self.circuit.set(self.breaker.state is not State.CLOSED)
            if self.cached is not None:
                self.count_cached(self.cached)

    def count_cached(self, cached: CachedStore) -> None:
        self.hits.inc(cached.hits - self.counted_hits)
        self.misses.inc(cached.misses - self.counted_misses)
        self.counted_hits, self.counted_misses = cached.hits, cached.misses

    async def close(self) -> None:
        await self.store.close()
