"""Latencies in steps of 1 %: small enough for a file, exact enough for percentiles."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

STEP = math.log(1.01)
MIN_SECONDS = 1e-6
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


@dataclass(slots=True)
class Histogram:
    steps: Counter[int] = field(default_factory=Counter)
    """Counts by step; step n begins at MIN_SECONDS × 1.01ⁿ seconds."""

    def add(self, seconds: float) -> None:
        self.steps[int(math.log(max(seconds, MIN_SECONDS) / MIN_SECONDS) / STEP)] += 1

    @property
    def count(self) -> int:
        return self.steps.total()

    @property
    def mean(self) -> float:
        return sum(middle(step) * count for step, count in self.steps.items()) / self.count

    @property
    def highest(self) -> float:
        return middle(max(self.steps))

    def percentile(self, share: float) -> float:
        """The latency that at least `share` of the requests did not exceed."""
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen >= rank:
                return middle(step)
        raise ValueError("nothing was measured")

    def plain(self) -> dict[str, int]:
        return {str(step): self.steps[step] for step in sorted(self.steps)}


def from_plain(values: dict[str, int]) -> Histogram:
    return Histogram(Counter({int(step): count for step, count in values.items()}))


def merged(parts: Iterable[Histogram]) -> Histogram:
    total: Counter[int] = Counter()
    for one in parts:
        total.update(one.steps)
    return Histogram(total)


def middle(step: int) -> float:
    return MIN_SECONDS * math.exp(STEP * (step + 0.5))
