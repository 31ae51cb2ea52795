"""Slow requests: those beyond an edge of the histogram's buckets near the baseline's p90."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from monitoring.verdict.counts import TrafficWindow

SLOW_SHARE = 0.1
MAX_SLOW_SHARE = 1 / 3
"""Of an edge that more requests are beyond, a candidate could not be beyond much more often."""
NEGLIGIBLE = 0.01
"""A share of slow requests below which a candidate is fast, whatever the baseline's is."""
SHADOW_RATIO, SHADOW_SHARE = 1.5, 0.5
"""A shadow must not take 1.5 times as long as the model for half of the same requests."""
MIN_REQUESTS = 100
"""Requests of the baseline that the edge is told from. Their windows are no evidence, or the edge would fit them."""


def slow_edge(windows: Sequence[TrafficWindow]) -> tuple[float, int] | None:
    """The edge in seconds, and the number of windows that it was told from; None as long as these are too few."""
    totals: Counter[float] = Counter()
    for number, window in enumerate(windows, start=1):
        totals.update(window.baseline.latency)
        every = totals[math.inf]
        if every >= MIN_REQUESTS:
            shares = {edge: 1 - count / every for edge, count in totals.items() if math.isfinite(edge)}
            return (nearest_edge(shares), number) if shares else None
    return None


def nearest_edge(shares: Mapping[float, float]) -> float:
    """The edge whose share of slower requests is nearest to a tenth, by its odds."""
    usable = [edge for edge, share in shares.items() if share <= MAX_SLOW_SHARE]
    return min(usable, key=lambda edge: (distance(shares[edge]), edge)) if usable else max(shares)


def distance(share: float) -> float:
    return abs(log_odds(max(share, 1e-9)) - log_odds(SLOW_SHARE))


def log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def beyond(edge: float, cumulated: Mapping[float, int]) -> tuple[int, int]:
    """Those beyond an edge, and all; none where the histogram has no such edge."""
    if edge not in cumulated:
        return 0, 0
    every = cumulated[math.inf]
    return every - cumulated[edge], every
