"""What a gate says: arms against each other, or one arm against a limit."""

from __future__ import annotations

import numpy as np

from monitoring.verdict.evalues import (
    HIGHER,
    LOWER,
    ArmSeries,
    Array,
    ratio_evidence,
    running_dispersion,
    share_evidence,
    stretch_evidence,
)
from monitoring.verdict.gates import Gates
from monitoring.verdict.looks import Evidence, Verdict

MIN_WINDOWS = 3
"""Windows before arms are compared: bursts cannot be told in fewer."""
MAX_LOG = 690.0
"""e-values beyond are not told apart, so that each is a number."""
ALPHA_SHARES = {"errors": 0.6, "latency": 0.2, "refused inputs": 0.1, "disagreement": 0.1}
"""How α is split over what can fail a candidate that is as good as the baseline."""


def compare_arms(
    gate: str, baseline: ArmSeries, candidate: ArmSeries, since: int, gates: Gates, enough: float | None
) -> Evidence:
    """Fails a share above the baseline's by the margin; passes one below `enough`, or within the tolerance.

    Without `enough` it can only fail. Windows before `since` do not count in favour.
    """
    fails_at = 1 / (gates.alpha * ALPHA_SHARES[gate])
    dispersion = running_dispersion(baseline, candidate)
    against = 1.0
    if len(dispersion) >= MIN_WINDOWS:
        against = last(ratio_evidence(baseline, candidate, gates.margin, HIGHER, dispersion))
    shares = f"{percent(candidate.share)} against {percent(baseline.share)}"
    spread = float(dispersion[-1]) if len(dispersion) else None
    if against >= fails_at:
        verdict: Verdict = "fail"
        reason = f"{shares}, more than {gates.margin:g} times as much (e = {against:.3g}, bound {fails_at:.0f})"
    else:
        verdict, reason = "pass", f"{shares}, not certainly more than {gates.margin:g} times as much"
    if enough is None:
        return Evidence(gate, verdict, reason, against, fails_at, None, None, baseline.share, candidate.share, spread)
    recent, passes_at = candidate.since(since), 1 / gates.alpha
    low = last(share_evidence(recent, enough, LOWER, dispersion[since:]))
    close = last(ratio_evidence(baseline.since(since), recent, gates.tolerance, LOWER, dispersion[since:]))
    in_favour = max(low, close)
    if verdict != "fail" and in_favour >= passes_at:
        bound = f"below {percent(enough)}" if low >= close else f"less than {gates.tolerance:g} times as much"
        reason = f"{shares}, {bound} (e = {in_favour:.3g}, bound {passes_at:.0f})"
    elif verdict != "fail":
        verdict, reason = "inconclusive", f"{shares} (e = {against:.3g} against, {in_favour:.3g} in favour)"
        if not recent.every.sum():
            reason = "the candidate has had no traffic yet"
    return Evidence(
        gate, verdict, reason, against, fails_at, in_favour, passes_at, baseline.share, candidate.share, spread
    )


def check_limit(gate: str, arm: ArmSeries, since: int, limit: float, gates: Gates) -> Evidence:
    """Fails a share above the limit, and passes one below."""
    fails_at, passes_at = 1 / (gates.alpha * ALPHA_SHARES[gate]), 1 / gates.alpha
    dispersion = running_dispersion(arm)
    against = last(share_evidence(arm, limit, HIGHER, dispersion)) if len(dispersion) >= MIN_WINDOWS else 1.0
    in_favour = last(share_evidence(arm.since(since), limit, LOWER, dispersion[since:]))
    verdict: Verdict = "fail" if against >= fails_at else "pass" if in_favour >= passes_at else "inconclusive"
    words = {"fail": "above", "pass": "below", "inconclusive": "not certainly below"}[verdict]
    reason = f"{percent(arm.share)}, {words} {percent(limit)}"
    spread = float(dispersion[-1]) if len(dispersion) else None
    return Evidence(
        gate, verdict, reason, against, fails_at, in_favour, passes_at, candidate=arm.share, dispersion=spread
    )


def guard_limit(gate: str, arm: ArmSeries, limit: float, gates: Gates) -> Evidence:
    """Fails a share above the limit in any stretch of time, whatever was before and however the baseline does."""
    against, fails_at = last(stretch_evidence(arm, limit, HIGHER)), 1 / gates.alpha
    failed = against >= fails_at
    reason = f"{'more' if failed else 'no more'} than {percent(limit)} in a stretch of time"
    return Evidence(gate, "fail" if failed else "pass", reason, against, fails_at, candidate=arm.share)


def last(logs: Array) -> float:
    """The e-value after the last window; 1 without any."""
    return float(np.exp(min(logs[-1], MAX_LOG))) if logs.size else 1.0


def percent(share: float | None) -> str:
    return "nothing" if share is None else f"{100 * share:.3g} %"
