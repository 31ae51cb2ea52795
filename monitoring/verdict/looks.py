"""A look at the evidence, as it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from monitoring.verdict.counts import ArmCounts, ShadowCounts, TrafficWindow

Verdict: TypeAlias = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one gate says."""

    gate: str
    verdict: Verdict
    reason: str
    against: float | None = None
    """The e-value against the candidate; it fails at `fails_at`."""
    fails_at: float | None = None
    in_favour: float | None = None
    """The e-value in favour of the candidate; it passes at `passes_at`."""
    passes_at: float | None = None
    baseline: float | None = None
    """The share of what the gate counts."""
    candidate: float | None = None
    dispersion: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was known after one window, and what follows."""

    window: TrafficWindow
    verdict: Verdict
    reason: str
    evidence: tuple[Evidence, ...]
    warnings: tuple[str, ...] = ()

    def gate(self, name: str) -> Evidence | None:
        return next((each for each in self.evidence if each.gate == name), None)

    def plain(self) -> dict[str, Any]:
        """The look as JSON has it."""
        content = asdict(self)
        for arm in ("baseline", "candidate"):
            latency = content["window"][arm]["latency"]
            content["window"][arm]["latency"] = {str(edge): count for edge, count in latency.items()}
        return content


def look_from(content: Mapping[str, Any]) -> Look:
    """The look that `plain` gave."""
    evidence = tuple(Evidence(**each) for each in content["evidence"])
    known = {"window": window_from(content["window"]), "evidence": evidence, "warnings": tuple(content["warnings"])}
    return Look(**{**content, **known})


def window_from(content: Mapping[str, Any]) -> TrafficWindow:
    arms = {arm: arm_from(content[arm]) for arm in ("baseline", "candidate")}
    return TrafficWindow(**{**content, **arms, "shadow": ShadowCounts(**content["shadow"])})


def arm_from(content: Mapping[str, Any]) -> ArmCounts:
    return ArmCounts(**{**content, "latency": {float(edge): count for edge, count in content["latency"].items()}})
