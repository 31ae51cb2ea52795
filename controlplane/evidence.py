"""What both revisions of a rollout have counted, and the verdict on it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from controlplane.domain.rollouts import MetricLimit, TrafficPlan
from monitoring.verdict import ArmCounts, Evidence, Look, TrafficWindow, judge

QUANTILE = 0.99


def look_at(windows: Sequence[TrafficWindow], plan: TrafficPlan, step_began: float | None) -> Look:
    """The look after the last window, the limits of the plan included."""
    look = judge(windows, plan.gates.gates(), step_began)
    further = [limited(windows, each, plan.threshold) for each in plan.metrics]
    failed = [each for each in further if each.verdict == "fail"]
    if failed and look.verdict != "fail":
        look = replace(look, verdict="fail", reason="; ".join(f"{each.gate}: {each.reason}" for each in failed))
    return replace(look, evidence=(*look.evidence, *further))


def limited(windows: Sequence[TrafficWindow], limit: MetricLimit, threshold: int) -> Evidence:
    """A limit as a gate: it fails once as many checks have."""
    values = list(checks(windows, limit))
    exceeded = [value for value in values if value > limit.threshold_max]
    reason = f"{len(exceeded)} of {len(values)} checks above {limit.threshold_max:g}"
    if exceeded:
        reason += f", the last with {exceeded[-1]:.4g}"
    return Evidence(limit.name, "fail" if len(exceeded) >= threshold else "pass", reason)


def checks(windows: Sequence[TrafficWindow], limit: MetricLimit) -> Iterator[float]:
    """The value in each interval that is over; nothing of those without traffic."""
    began, counted = (windows[0].began if windows else 0.0), ArmCounts()
    for window in windows:
        counted = together(counted, window.candidate)
        if window.ended - began >= limit.interval:
            value = measured(counted, limit)
            if value is not None:
                yield value
            began, counted = window.ended, ArmCounts()


def measured(counted: ArmCounts, limit: MetricLimit) -> float | None:
    if limit.name == "error-rate":
        return 100 * counted.errors / counted.accepted if counted.accepted else None
    total = counted.latency.get(float("inf"), 0)
    edges = (edge for edge, below in sorted(counted.latency.items()) if below >= QUANTILE * total)
    return 1000 * next(edges) if total else None


def together(one: ArmCounts, other: ArmCounts) -> ArmCounts:
    """The requests of two windows."""
    edges = {**one.latency, **other.latency}
    return ArmCounts(
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        refused=one.refused + other.refused,
        latency={edge: one.latency.get(edge, 0) + other.latency.get(edge, 0) for edge in edges},
    )
