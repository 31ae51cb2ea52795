"""Slow requests: those beyond the bucket that the baseline's p90 lies in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from monitoring.verdict.counts import ArmCounts, TrafficWindow

FAST_SHARE = 0.9
MIN_REQUESTS = 100
"""Requests of the baseline that its p90 is told from. Their windows are no evidence, or the edge would fit them."""


def slow_edge(windows: Sequence[TrafficWindow]) -> tuple[float, int] | None:
    """The edge in seconds, and the number of windows that it was told from; None as long as these are too few."""
    totals: Counter[float] = Counter()
    for number, window in enumerate(windows, start=1):
        totals.update(window.baseline.latency)
        if totals[math.inf] >= MIN_REQUESTS:
            edges = sorted(edge for edge in totals if math.isfinite(edge))
            enough = [edge for edge in edges if totals[edge] >= FAST_SHARE * totals[math.inf]]
            return (enough[0] if enough else edges[-1], number) if edges else None
    return None


def slower_than(edge: float, arm: ArmCounts) -> tuple[int, int]:
    """The requests that took longer, and all; none where the histogram has no such edge."""
    if edge not in arm.latency:
        return 0, 0
    every = arm.latency[math.inf]
    return every - arm.latency[edge], every
