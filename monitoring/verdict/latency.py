"""Slow requests: those beyond an edge of the histogram's buckets near the baseline's p90."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from monitoring.verdict.counts import ArmCounts, TrafficWindow

SLOW_SHARE = 0.1
MAX_SLOW_SHARE = 1 / 3
"""Of an edge that more requests are beyond, a candidate could not be beyond much more often."""
NEGLIGIBLE = 0.01
"""A share of slow requests below which a candidate is fast, whatever the baseline's is."""
MIN_REQUESTS = 100
"""Requests of the baseline that the edge is told from. Their windows are no evidence, or the edge would fit them."""


def slow_edge(windows: Sequence[TrafficWindow]) -> tuple[float, int] | None:
    """The edge in seconds, and the number of windows that it was told from; None as long as these are too few."""
    totals: Counter[float] = Counter()
    for number, window in enumerate(windows, start=1):
        totals.update(window.baseline.latency)
        every = totals[math.inf]
        if every >= MIN_REQUESTS:
            beyond = {edge: 1 - count / every for edge, count in totals.items() if math.isfinite(edge)}
            return (nearest_edge(beyond), number) if beyond else None
    return None


def nearest_edge(beyond: Mapping[float, float]) -> float:
    """The edge whose share of slower requests is nearest to a tenth, by its odds."""
    usable = [edge for edge, share in beyond.items() if share <= MAX_SLOW_SHARE]
    return min(usable, key=lambda edge: (distance(beyond[edge]), edge)) if usable else max(beyond)


def distance(share: float) -> float:
    return abs(log_odds(max(share, 1e-9)) - log_odds(SLOW_SHARE))


def log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def slower_than(edge: float, arm: ArmCounts) -> tuple[int, int]:
    """The requests that took longer, and all; none where the histogram has no such edge."""
    if edge not in arm.latency:
        return 0, 0
    every = arm.latency[math.inf]
    return every - arm.latency[edge], every
