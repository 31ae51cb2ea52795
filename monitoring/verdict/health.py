"""Whether the candidate's pods run, and keep running."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from monitoring.verdict.counts import TrafficWindow
from monitoring.verdict.gates import Gates
from monitoring.verdict.looks import Evidence


def check_health(windows: Sequence[TrafficWindow], gates: Gates) -> list[Evidence]:
    """Warm-up counts here: a pod that crashes has no excuse."""
    arms = [each.candidate for each in windows]
    return [
        readiness(windows, gates),
        limited("restarts", sum(each.restarts for each in arms), gates.max_restarts),
        limited("failed reloads", sum(each.failed_reloads for each in arms), gates.max_failed_reloads),
    ]


def readiness(windows: Sequence[TrafficWindow], gates: Gates) -> Evidence:
    down = list(takewhile(lambda each: each.candidate.pods and not each.candidate.ready, reversed(windows)))
    seconds = down[0].ended - down[-1].began if down else 0.0
    if down and seconds >= gates.max_unready_seconds:
        return Evidence("readiness", "fail", f"no pod has been ready for {seconds:.0f} s")
    arm = windows[-1].candidate
    if arm.ready < arm.pods:
        return Evidence("readiness", "inconclusive", f"{arm.ready} of {arm.pods} pods are ready")
    return Evidence("readiness", "pass", f"{arm.ready} pods are ready")


def limited(gate: str, count: int, limit: int) -> Evidence:
    return Evidence(gate, "fail" if count > limit else "pass", f"{count}, at most {limit} allowed")
