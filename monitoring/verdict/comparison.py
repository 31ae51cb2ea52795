"""What a gate says: arms against each other, or one arm against a limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.verdict.evalues import (
    HIGHER,
    LOWER,
    ArmSeries,
    Array,
    Mixture,
    ratio_evidence,
    running_dispersion,
    share_evidence,
    stretch_evidence,
)
from monitoring.verdict.gates import Gates
from monitoring.verdict.looks import Evidence, Verdict

MIN_WINDOWS = 3
"""Windows with traffic before anything is said: bursts cannot be told in fewer."""
MAX_LOG = 690.0
"""e-values beyond are not told apart, so that each is a number."""
ALPHA_SHARES = {"errors": 0.6, "latency": 0.2, "refused inputs": 0.1, "disagreement": 0.1}
"""How α is split over what can fail a candidate that is as good as the baseline."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What two arms are held to: their shares of what is bad."""

    margin: float
    """The candidate fails above so many times the baseline's share."""
    tolerance: float
    """It passes below so many times the baseline's share."""
    enough: float
    """It passes below this share as well; at 0 it does not."""
    fails_at: float
    """The e-values at which it does."""
    passes_at: float
    higher: Mixture = HIGHER
    lower: Mixture = LOWER


def gate_bounds(gate: str, gates: Gates, margin: float, enough: float) -> Bounds:
    return Bounds(margin, gates.tolerance, enough, fail_bound(gate, gates), 1 / gates.alpha)


@dataclass(frozen=True, slots=True)
class EvidencePaths:
    """Logarithms of e-values after each window."""

    against: Array
    low: Array
    """For the candidate's share being below `enough`."""
    close: Array
    """For it being within the tolerance."""
    dispersion: Array


def evidence_paths(baseline: ArmSeries, candidate: ArmSeries, bounds: Bounds, since: int = 0) -> EvidencePaths:
    """Windows before `since` do not count in favour."""
    dispersion = running_dispersion(baseline, candidate)
    against = ratio_evidence(baseline, candidate, bounds.margin, bounds.higher, dispersion)
    before, after, recent = baseline.since(since), candidate.since(since), dispersion[..., since:]
    close = ratio_evidence(before, after, bounds.tolerance, bounds.lower, recent)
    low = share_evidence(after, bounds.enough, bounds.lower, recent) if bounds.enough else np.zeros_like(close)
    both = is_enough(baseline, candidate)
    return EvidencePaths(
        np.where(both, against, 0.0),
        np.where(is_enough(candidate)[..., since:], low, 0.0),
        np.where(both[..., since:], close, 0.0),
        dispersion,
    )


def is_enough(*arms: ArmSeries) -> npt.NDArray[np.bool_]:
    """Whether the arms have had enough windows with traffic by each one."""
    busy = np.logical_and.reduce([arm.every > 0 for arm in arms])
    return np.cumsum(busy, axis=-1) >= MIN_WINDOWS


def compare_arms(
    gate: str, baseline: ArmSeries, candidate: ArmSeries, bounds: Bounds, since: int | None = 0
) -> Evidence:
    """Fails a share above the margin, and passes one that is low or close enough; without `since` it only fails."""
    paths = evidence_paths(baseline, candidate, bounds, since or 0)
    against, low, close = last(paths.against), last(paths.low), last(paths.close)
    in_favour = max(low, close)
    reason = f"{percent(candidate.share)} against {percent(baseline.share)}"
    verdict: Verdict = "inconclusive"
    if against >= bounds.fails_at:
        verdict = "fail"
        reason += f", more than {bounds.margin:g} times as much (e = {against:.3g}, bound {bounds.fails_at:.0f})"
    elif since is None:
        verdict = "pass"
    elif not candidate.since(since).every.sum():
        reason = "the candidate has had no traffic yet"
    elif in_favour >= bounds.passes_at:
        verdict = "pass"
        limit = f"below {percent(bounds.enough)}" if low >= close else f"less than {bounds.tolerance:g} times as much"
        reason += f", {limit} (e = {in_favour:.3g}, bound {bounds.passes_at:.0f})"
    else:
        reason += f" (e = {against:.3g} against, {in_favour:.3g} in favour)"
    return Evidence(
        gate, verdict, reason, against, bounds.fails_at,
        in_favour=None if since is None else in_favour,
        passes_at=None if since is None else bounds.passes_at,
        baseline=baseline.share, candidate=candidate.share,
        dispersion=float(paths.dispersion[-1]) if paths.dispersion.size else None,
    )  # fmt: skip


def check_limit(gate: str, arm: ArmSeries, since: int, limit: float, gates: Gates) -> Evidence:
    """Fails a share above the limit, and passes one below."""
    fails_at, passes_at = fail_bound(gate, gates), 1 / gates.alpha
    dispersion = running_dispersion(arm)
    enough = is_enough(arm)
    against = last(np.where(enough, share_evidence(arm, limit, HIGHER, dispersion), 0.0))
    recent = share_evidence(arm.since(since), limit, LOWER, dispersion[since:])
    in_favour = last(np.where(enough[since:], recent, 0.0))
    verdict: Verdict = "fail" if against >= fails_at else "pass" if in_favour >= passes_at else "inconclusive"
    words = {"fail": "above", "pass": "below", "inconclusive": "not certainly below"}[verdict]
    reason = f"{percent(arm.share)}, {words} {percent(limit)}"
    spread = float(dispersion[-1]) if len(dispersion) else None
    return Evidence(
        gate, verdict, reason, against, fails_at, in_favour, passes_at, candidate=arm.share, dispersion=spread
    )


def guard_limit(gate: str, arm: ArmSeries, limit: float, gates: Gates, bursts: Array | None = None) -> Evidence:
    """Fails a share above the limit in any stretch of time, whatever was before.

    `bursts` is the dispersion of the baseline; the candidate's own would excuse an outage.
    """
    dispersion = np.ones_like(arm.bad) if bursts is None else bursts
    against, fails_at = last(stretch_evidence(arm, limit, HIGHER, dispersion)), 1 / gates.alpha
    failed = against >= fails_at
    reason = f"{'more' if failed else 'no more'} than {percent(limit)} in a stretch of time"
    return Evidence(gate, "fail" if failed else "pass", reason, against, fails_at, candidate=arm.share)


def fail_bound(gate: str, gates: Gates) -> float:
    return 1 / (gates.alpha * ALPHA_SHARES[gate])


def last(logs: Array) -> float:
    """The e-value after the last window; 1 without any."""
    return float(np.exp(min(logs[-1], MAX_LOG))) if logs.size else 1.0


def percent(share: float | None) -> str:
    return "nothing" if share is None else f"{100 * share:.3g} %"
