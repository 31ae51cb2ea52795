"""What can be decided for a target: one action at a time, or to see again later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

ALL = 100
"""Percent of the requests."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring a revision up, beside what serves."""

    revision: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Send all requests to a revision; the others are discarded afterwards."""

    revision: int


@dataclass(frozen=True, slots=True)
class SplitTraffic:
    """Send each revision its percent of the requests."""

    weights: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class BeginStep:
    """Note that the weights of the step are in effect: its time begins."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Look at what both revisions have counted, and note the verdict."""


@dataclass(frozen=True, slots=True)
class PauseRollout:
    """Leave the traffic as it is until a person has decided."""

    reason: str


@dataclass(frozen=True, slots=True)
class NextStep:
    """Note that the step has passed."""


@dataclass(frozen=True, slots=True)
class Discard:
    """End a revision that is not needed; one that is stopping already is ended at once."""

    revision: int


@dataclass(frozen=True, slots=True)
class Succeed:
    """Note that the change has succeeded."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Note that the change has failed; what was active before is wanted again."""

    reason: str


Action: TypeAlias = (
    Apply | Promote | SplitTraffic | BeginStep | Judge | PauseRollout | NextStep | Discard | Succeed | Fail
)


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action | None = None
    """One at a time: the next is decided on what is there afterwards."""
    again_at: float | None = None
    """When to decide again, at the latest; None: when something happens."""


def earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
