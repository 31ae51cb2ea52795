"""What a candidate must keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from monitoring.catalogue import DIFFERENCE_BUCKETS
from monitoring.objectives import LatencyObjective, Unfit

SHARES = ("alpha", "error_slo", "error_guard", "max_disagreement")


@dataclass(frozen=True, slots=True)
class Gates:
    """Limits of a verdict; None drops one."""

    alpha: float = 0.05
    """How likely a candidate as good as the baseline may be failed, over all gates and looks together."""
    margin: float = 1.5
    """A candidate fails when its share of errors, or of refused inputs, is more than so many times the baseline's."""
    tolerance: float = 2.0
    """It passes when its share is less than so many times the baseline's, or below the objective."""
    error_slo: float = 0.01
    """The share of errors below which a candidate passes whatever the baseline does."""
    error_guard: float | None = 0.25
    """The share of errors that is too much in any stretch of time."""
    latency_margin: float | None = 1.2
    """The same margin for the share of slow requests; None leaves latencies out."""
    latency_guard: LatencyObjective | None = None
    """An objective that no stretch of time may miss; its seconds are an edge of the histogram's buckets."""
    refused: bool = True
    """Whether a candidate fails that refuses more inputs than the baseline."""
    warm_up_seconds: float = 30.0
    """Windows that begin earlier after the first one are left out."""
    max_restarts: int = 0
    max_failed_reloads: int = 0
    max_unready_seconds: float = 60.0
    max_disagreement: float | None = None
    """The share of rows that a shadow may answer differently. With it, a candidate passes by its answers only."""
    max_distance: float | None = None
    """A distance beyond which numbers are different answers; an edge of the histogram's buckets."""
    max_shift: float = 0.2
    """Population stability index between the arms' predictions above which there is a warning."""
    shift_gates: bool = False
    """Whether such a shift fails the candidate."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise Unfit(each.name, f"{value!r}: expected a number that is not negative")
        for name in SHARES:
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise Unfit(name, f"{value:g} is no share: expected a number between 0 and 1, such as 0.01")
        if self.max_distance is not None and self.max_distance not in DIFFERENCE_BUCKETS:
            known = ", ".join(f"{each:g}" for each in DIFFERENCE_BUCKETS)
            raise Unfit("max_distance", f"{self.max_distance:g} is between two buckets: expected one of {known}")
        for name, margin in (("margin", self.margin), ("latency_margin", self.latency_margin)):
            if margin is not None and not 1 <= margin < self.tolerance:
                wanted = f"expected at least 1, and less than {self.tolerance:g}, the tolerance"
                raise Unfit(name, f"{margin:g}: {wanted}")
