"""Results of the requests of a test, second by second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from loadtest.histogram import Histogram, from_plain, merged
from loadtest.slo import Check, Objective

LATE_SECONDS = 0.05
"""Seconds: a load generator that is later than this with 1 % of its requests is itself the bottleneck."""


@dataclass(slots=True)
class Second:
    """The requests that were due within one second."""

    offered: int = 0
    latencies: Histogram = field(default_factory=Histogram)
    """Latencies of the successful requests, from when they were due."""
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class LoadResult:
    seconds: dict[int, Second] = field(default_factory=dict)
    lags: Histogram = field(default_factory=Histogram)
    """How late the load generator was."""

    def at(self, due: float) -> Second:
        return self.seconds.setdefault(int(due), Second())

    @property
    def offered(self) -> int:
        return sum(one.offered for one in self.seconds.values())

    @property
    def latencies(self) -> Histogram:
        return merged(one.latencies for one in self.seconds.values())

    @property
    def errors(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for one in self.seconds.values():
            total.update(one.errors)
        return total

    @property
    def late(self) -> float:
        return self.lags.percentile(0.99) if self.lags.count else 0.0

    def checks(self, objectives: Iterable[Objective]) -> list[Check]:
        latencies, errors = self.latencies, self.errors.total()
        return [Check(one, one.measured(latencies, self.offered, errors)) for one in objectives]

    def between(self, first: int, end: int) -> LoadResult:
        return LoadResult({at: one for at, one in self.seconds.items() if first <= at < end}, self.lags)

    def plain(self) -> dict[str, Any]:
        return {
            "seconds": [
                {"at": at, "offered": one.offered, "latencies": one.latencies.plain(), "errors": dict(one.errors)}
                for at, one in sorted(self.seconds.items())
            ],
            "lags": self.lags.plain(),
        }


def outcome_from(values: dict[str, Any]) -> LoadResult:
    seconds = {
        one["at"]: Second(one["offered"], from_plain(one["latencies"]), Counter(one["errors"]))
        for one in values["seconds"]
    }
    return LoadResult(seconds, from_plain(values["lags"]))
