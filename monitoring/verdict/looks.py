"""A look at the evidence, as it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        window = content["window"]
        parts = {arm: arm_plain(window[arm]) for arm in ("baseline", "candidate")}
        return content | {"window": window | parts | {"shadow": shadow_keyed(str, window["shadow"])}}


def look_from(content: Mapping[str, Any]) -> Look:
    """The look that `plain` gave."""
    evidence = tuple(Evidence(**each) for each in content["evidence"])
    known = {"window": window_from(content["window"]), "evidence": evidence, "warnings": tuple(content["warnings"])}
    return Look(**{**content, **known})


def window_from(content: Mapping[str, Any]) -> TrafficWindow:
    arms = {arm: arm_from(content[arm]) for arm in ("baseline", "candidate")}
    return TrafficWindow(**{**content, **arms, "shadow": ShadowCounts(**shadow_keyed(float, content["shadow"]))})


def arm_plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of JSON are strings."""
    return {**content, "latency": keyed(str, content["latency"]), "quantiles": nested(str, content["quantiles"])}


def arm_from(content: Mapping[str, Any]) -> ArmCounts:
    numbers = {"latency": keyed(float, content["latency"]), "quantiles": nested(float, content["quantiles"])}
    return ArmCounts(**{**content, **numbers})


def shadow_keyed(change: Callable[[Any], Any], content: Mapping[str, Any]) -> dict[str, Any]:
    return {**content, **{name: keyed(change, content[name]) for name in ("distances", "ratios")}}


def keyed(change: Callable[[Any], Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    return {change(key): value for key, value in values.items()}


def nested(change: Callable[[Any], Any], values: Mapping[str, Mapping[Any, Any]]) -> dict[str, dict[Any, Any]]:
    return {name: keyed(change, each) for name, each in values.items()}
