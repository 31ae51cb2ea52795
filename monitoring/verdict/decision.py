"""The decision: windows of two arms and the gates, to a look with its verdict. A pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitoring.verdict.counts import ArmCounts, TrafficWindow
from monitoring.verdict.evalues import (
    HIGHER,
    LOWER,
    Array,
    dispersion,
    ratio_evidence,
    share_evidence,
    stretch_evidence,
)
from monitoring.verdict.gates import Gates
from monitoring.verdict.looks import Evidence, Look, Verdict

MIN_WINDOWS = 3
"""Windows before arms are compared: bursts cannot be told in fewer."""
MAX_LOG = 690.0
"""e-values beyond are not told apart, so that each is a number."""
ALPHA_SHARES = {"errors": 0.6, "latency": 0.2, "refused inputs": 0.1, "disagreement": 0.1}
"""How α is split over what can fail a candidate that is as good as the baseline."""


@dataclass(frozen=True, slots=True)
class ArmSeries:
    """What a gate counts in one arm, by window: the bad ones, and all."""

    bad: Array
    every: Array

    @property
    def pair(self) -> tuple[Array, Array]:
        return self.bad, self.every

    @property
    def share(self) -> float | None:
        every = self.every.sum()
        return float(self.bad.sum() / every) if every else None

    def since(self, first: int) -> ArmSeries:
        return ArmSeries(self.bad[first:], self.every[first:])


def judge(windows: Sequence[TrafficWindow], gates: Gates, step_began: float | None = None) -> Look:
    """The look after the last of the windows, which come in the order of time.

    Windows before `step_began` count against the candidate, not in its favour.
    """
    if not windows:
        raise ValueError("there is no window to judge: expected at least one")
    warm = windows[0].began + gates.warm_up_seconds
    counted = [each for each in windows if each.began >= warm]
    since = next((at for at, each in enumerate(counted) if each.began >= (step_began or 0.0)), len(counted))
    evidence = (errors(counted, since, gates), *error_guard(counted, gates))
    verdict, reason = overall(evidence)
    return Look(windows[-1], verdict, reason, evidence)


def overall(evidence: Sequence[Evidence]) -> tuple[Verdict, str]:
    """One gate fails all; to pass, every gate must."""
    for wanted in ("fail", "inconclusive"):
        reasons = [f"{each.gate}: {each.reason}" for each in evidence if each.verdict == wanted]
        if reasons:
            return wanted, "; ".join(reasons)
    return "pass", "; ".join(f"{each.gate}: {each.reason}" for each in evidence if each.in_favour is not None)


def errors(windows: Sequence[TrafficWindow], since: int, gates: Gates) -> Evidence:
    baseline, candidate = (series([getattr(each, arm) for each in windows]) for arm in ("baseline", "candidate"))
    return compared("errors", baseline, candidate, since, gates, gates.error_slo)


def series(arms: Sequence[ArmCounts]) -> ArmSeries:
    return ArmSeries(array([each.errors for each in arms]), array([each.accepted for each in arms]))


def compared(gate: str, baseline: ArmSeries, candidate: ArmSeries, since: int, gates: Gates, enough: float) -> Evidence:
    """Fails a share that is above the baseline's by the margin; passes one below `enough` or the tolerance."""
    fails_at, passes_at = 1 / (gates.alpha * ALPHA_SHARES[gate]), 1 / gates.alpha
    spread = dispersion(baseline.pair, candidate.pair)
    against = in_favour = 1.0
    if len(spread) >= MIN_WINDOWS:
        against = last(ratio_evidence(baseline.pair, candidate.pair, gates.margin, HIGHER, spread))
    recent = candidate.since(since)
    if recent.every.sum():
        before = baseline.since(since)
        in_favour = max(
            last(share_evidence(recent.pair, enough, LOWER, spread[since:])),
            last(ratio_evidence(before.pair, recent.pair, gates.tolerance, LOWER, spread[since:])),
        )
    shares = f"{percent(candidate.share)} against {percent(baseline.share)}"
    verdict: Verdict = "fail" if against >= fails_at else "pass" if in_favour >= passes_at else "inconclusive"
    reason = {
        "fail": f"{shares} is more than {gates.margin:g} times as much (e = {against:.3g}, bound {fails_at:.0f})",
        "pass": f"{shares} is low enough (e = {in_favour:.3g})",
        "inconclusive": f"{shares} (e = {against:.3g} against, {in_favour:.3g} in favour)",
    }[verdict]
    if not recent.every.sum() and verdict != "fail":
        reason = "the candidate has had no traffic yet"
    return Evidence(
        gate, verdict, reason, against, fails_at, in_favour, passes_at, baseline.share, candidate.share,
        float(spread[-1]) if len(spread) else None,
    )  # fmt: skip


def error_guard(windows: Sequence[TrafficWindow], gates: Gates) -> list[Evidence]:
    if gates.error_guard is None:
        return []
    arm = series([each.candidate for each in windows])
    return [guarded("error guard", arm, gates.error_guard, gates)]


def guarded(gate: str, arm: ArmSeries, limit: float, gates: Gates) -> Evidence:
    """Fails a share above the limit in any stretch of time, whatever was before."""
    against = last(stretch_evidence(arm.pair, limit, HIGHER, np.ones_like(arm.bad)))
    fails_at = 1 / gates.alpha
    failed = against >= fails_at
    reason = f"{'more' if failed else 'no more'} than {limit:.3g} of the requests of a stretch of time"
    return Evidence(gate, "fail" if failed else "pass", reason, against, fails_at, candidate=arm.share)


def array(values: Sequence[float]) -> Array:
    return np.array(values, dtype=np.float64)


def last(logs: Array) -> float:
    """The e-value after the last window; 1 without any."""
    return float(np.exp(min(logs[-1], MAX_LOG))) if logs.size else 1.0


def percent(share: float | None) -> str:
    return "no requests" if share is None else f"{share:.3%}"
