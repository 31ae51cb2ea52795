"""Looks at the evidence of rollouts: what both revisions have counted, or how smoke requests were answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from controlplane.backends.backend import Backend, Key, RequestUnanswered
from controlplane.domain.rollouts import SmokeRequest
from controlplane.evidence import look_at
from controlplane.store.rollouts import KeptLook, StoredRollout
from monitoring.verdict import ArmCounts, Evidence, Look, TrafficWindow, Verdict, WindowReader

REFUSED_FROM = 400


@dataclass
class FollowedRollout:
    reader: WindowReader
    windows: list[TrafficWindow] = field(default_factory=list)


class RolloutJudge:
    """Knows the counters that it has read last; with a new control plane, counting goes on from what was kept."""

    def __init__(self) -> None:
        self.followed: dict[str, FollowedRollout] = {}

    def knows(self, operation: str) -> bool:
        return operation in self.followed

    def follow(self, backend: Backend, key: Key, rollout: StoredRollout, kept: Sequence[KeptLook]) -> None:
        """Begins to count, after the looks that there have been."""
        baseline, candidate = (backend.counters(key, revision) for revision in (rollout.baseline, rollout.revision))
        self.followed[rollout.operation] = FollowedRollout(
            WindowReader(baseline, candidate), [each.look.window for each in kept]
        )  # fmt: skip

    def forget(self, operation: str) -> None:
        self.followed.pop(operation, None)

    def look(self, backend: Backend, key: Key, rollout: StoredRollout, now: float) -> Look:
        step = rollout.plan.steps[rollout.step]
        if not step.weight:
            return smoke_look(backend, key, rollout, now)
        followed = self.followed[rollout.operation]
        followed.windows.append(followed.reader.read(now))
        return look_at(followed.windows, rollout.plan, rollout.step_at)


def smoke_look(backend: Backend, key: Key, rollout: StoredRollout, now: float) -> Look:
    """How a revision that gets no requests yet answers those of the plan."""
    evidence = tuple(smoke(backend, key, rollout.revision, each) for each in rollout.plan.smoke)
    failed = [each for each in evidence if each.verdict == "fail"]
    verdict: Verdict = "fail" if failed else "pass"
    reason = "; ".join(f"{each.gate}: {each.reason}" for each in failed or evidence)
    return Look(TrafficWindow(now, now, ArmCounts(), ArmCounts()), verdict, reason, evidence)


def smoke(backend: Backend, key: Key, revision: int, request: SmokeRequest) -> Evidence:
    gate, begun = f"smoke {request.path}", time.monotonic()
    try:
        answer = backend.ask(key, revision, request)
    except RequestUnanswered as error:
        return Evidence(gate, "fail", str(error))
    seconds = time.monotonic() - begun
    if answer.status >= REFUSED_FROM:
        return Evidence(gate, "fail", f"status {answer.status}: {answer.text}")
    return Evidence(gate, "pass", f"status {answer.status} after {seconds:.3f} s")
