"""What was counted: two arms over one window of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OURS = ("model_error", "internal_error", "timeout")
"""Types of errors that are the server's or the model's fault."""
REFUSED = "invalid_input"


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """One arm in one window: all of its pods together."""

    requests: int = 0
    """Prediction requests that reached the model, failed ones included."""
    errors: int = 0
    """Those that failed through the server or the model."""
    refused: int = 0
    """Those whose inputs were refused."""
    latency: Mapping[float, int] = field(default_factory=dict)
    """Successful requests that took at most so many seconds, cumulated; `inf` has them all."""
    pods: int = 0
    ready: int = 0
    """Pods whose model is loaded."""
    restarts: int = 0
    failed_reloads: int = 0
    rows: int = 0
    """Rows in the pods' drift windows, which `classes` and `quantiles` are of."""
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The share of each class, by output."""
    quantiles: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    """Quantiles of numeric outputs."""

    @property
    def accepted(self) -> int:
        """Requests that the model had to answer. Requests are counted when they begin, and errors when they end: those
        of a window may have begun in an earlier one."""
        return max(self.requests - self.refused, self.errors)


@dataclass(frozen=True, slots=True)
class ShadowCounts:
    """A candidate that is asked afterwards, compared with the model on the same rows."""

    rows: int = 0
    """Rows whose labels were compared, and those whose labels differ."""
    differing: int = 0
    distances: Mapping[float, int] = field(default_factory=dict)
    """Rows whose numbers are at most so far apart, cumulated; `inf` has them all."""
    ratios: Mapping[float, int] = field(default_factory=dict)
    """Requests that took the candidate at most so many times as long as the model, cumulated in the same way."""


@dataclass(frozen=True, slots=True)
class TrafficWindow:
    """What both arms counted between two moments, in seconds since the epoch."""

    began: float
    ended: float
    baseline: ArmCounts
    candidate: ArmCounts
    shadow: ShadowCounts = ShadowCounts()
