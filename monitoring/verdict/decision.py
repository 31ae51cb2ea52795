"""The decision: windows of two arms and the gates, to a look with its verdict. A pure function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from monitoring.verdict.comparison import check_limit, compare_arms, gate_bounds, guard_limit
from monitoring.verdict.counts import ArmCounts, ShadowCounts, TrafficWindow
from monitoring.verdict.evalues import ArmSeries, running_dispersion
from monitoring.verdict.gates import Gates
from monitoring.verdict.health import check_health
from monitoring.verdict.latency import NEGLIGIBLE, SHADOW_RATIO, SHADOW_SHARE, beyond, slow_edge
from monitoring.verdict.looks import Evidence, Look, Verdict
from monitoring.verdict.shift import shifts


def judge(windows: Sequence[TrafficWindow], gates: Gates, step_began: float | None = None) -> Look:
    """The look after the last of the windows, which come in the order of time.

    Windows before `step_began` count against the candidate, not in its favour.
    """
    if not windows:
        raise ValueError("there is no window to judge: expected at least one")
    warm = windows[0].began + gates.warm_up_seconds
    counted = [each for each in windows if each.began >= warm]
    since = next((at for at, each in enumerate(counted) if each.began >= (step_began or 0.0)), len(counted))
    evidence = [
        *check_health(windows, gates),
        *check_errors(counted, since, gates),
        *check_latency(windows, counted, since, gates),
        *check_disagreement(counted, since, gates),
    ]
    warnings = list(moved_outputs(windows[-1], gates))
    if gates.shift_gates:
        evidence += [Evidence("prediction shift", "fail", each) for each in warnings]
    return Look(windows[-1], *overall(evidence), tuple(evidence), tuple(warnings))


def overall(evidence: Sequence[Evidence]) -> tuple[Verdict, str]:
    """One gate fails all; to pass, every gate must."""
    wanted: Verdict
    for wanted in ("fail", "inconclusive"):
        reasons = [f"{each.gate}: {each.reason}" for each in evidence if each.verdict == wanted]
        if reasons:
            return wanted, "; ".join(reasons)
    return "pass", "; ".join(f"{each.gate}: {each.reason}" for each in evidence if each.in_favour is not None)


def check_errors(windows: Sequence[TrafficWindow], since: int, gates: Gates) -> Iterable[Evidence]:
    baseline, candidate = arms(windows, lambda arm: (arm.errors, arm.accepted))
    bounds = gate_bounds("errors", gates, gates.margin, gates.error_slo)
    yield compare_arms("errors", baseline, candidate, bounds, since)
    if gates.error_guard is not None:
        yield guard_limit("error guard", candidate, gates.error_guard, gates, running_dispersion(baseline))
    if gates.refused:
        both = arms(windows, lambda arm: (arm.refused, max(arm.requests, arm.refused)))
        bounds = gate_bounds("refused inputs", gates, gates.margin, gates.error_slo)
        yield compare_arms("refused inputs", *both, bounds, None)


def check_latency(
    windows: Sequence[TrafficWindow], counted: Sequence[TrafficWindow], since: int, gates: Gates
) -> Iterable[Evidence]:
    if gates.latency_guard is not None:
        limit = gates.latency_guard
        _, candidate = arms(counted, lambda arm: beyond(limit.seconds, arm.latency))
        yield guard_limit("latency guard", candidate, limit.budget, gates)
    if gates.latency_margin is None:
        return
    if any(each.shadow.ratios for each in counted):
        ratios = series([beyond(SHADOW_RATIO, each.shadow.ratios) for each in counted])
        yield check_limit("latency", ratios, since, SHADOW_SHARE, gates)
        return
    edge = slow_edge(windows)
    if edge is None:
        yield Evidence("latency", "inconclusive", "the baseline has had too few requests to tell what is slow")
        return
    seconds, told_from = edge
    skipped = max(0, told_from - (len(windows) - len(counted)))
    baseline, candidate = arms(counted[skipped:], lambda arm: beyond(seconds, arm.latency))
    bounds = gate_bounds("latency", gates, gates.latency_margin, NEGLIGIBLE)
    yield compare_arms("latency", baseline, candidate, bounds, max(0, since - skipped))


def check_disagreement(windows: Sequence[TrafficWindow], since: int, gates: Gates) -> Iterable[Evidence]:
    if gates.max_disagreement is not None:
        counts = [disagreement(each.shadow, gates.max_distance) for each in windows]
        yield check_limit("disagreement", series(counts), since, gates.max_disagreement, gates)


def disagreement(shadow: ShadowCounts, max_distance: float | None) -> tuple[int, int]:
    far, every = (0, 0) if max_distance is None else beyond(max_distance, shadow.distances)
    return shadow.differing + far, shadow.rows + every


def moved_outputs(window: TrafficWindow, gates: Gates) -> Iterable[str]:
    for output, index in shifts(window.baseline, window.candidate).items():
        if index > gates.max_shift:
            yield f"{output} is predicted otherwise than by the baseline: PSI {index:.2f}, limit {gates.max_shift:g}"


def arms(
    windows: Sequence[TrafficWindow], count: Callable[[ArmCounts], tuple[int, int]]
) -> tuple[ArmSeries, ArmSeries]:
    baseline, candidate = ([count(getattr(each, arm)) for each in windows] for arm in ("baseline", "candidate"))
    return series(baseline), series(candidate)


def series(counts: Sequence[tuple[int, int]]) -> ArmSeries:
    bad, every = np.array(counts, dtype=np.float64).reshape(-1, 2).T
    return ArmSeries(bad, every)
