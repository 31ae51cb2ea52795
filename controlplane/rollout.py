"""A rollout as a state machine: from its plan, how far it is, the weights that are in effect and the time, to the next
action. Pure.

    weights set → step begun → looks at the evidence → step passed → weights of the next … → all requests → succeeded

A step passes when its time is over and, where it is judged, the verdict is pass; fail ends the rollout at any time.
Each arrow is one action. An action that was carried out and not noted is decided again, and changes nothing then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.actions import (
    ALL,
    BeginStep,
    Decision,
    Fail,
    Judge,
    NextStep,
    PauseRollout,
    Promote,
    SplitTraffic,
    Succeed,
    earliest,
)
from controlplane.domain.rollouts import PlannedStep, TrafficPlan
from monitoring.verdict import Verdict


@dataclass(frozen=True, slots=True)
class RolloutState:
    """How far a rollout has come."""

    plan: TrafficPlan
    baseline: int
    revision: int
    step: int = 0
    """From 0; as many as the plan has steps once all are done."""
    begun_at: float | None = None
    """When the clock of the step began; None until its weights are in effect."""
    paused: bool = False
    looked_at: float | None = None
    """When the evidence was looked at last."""
    verdict: Verdict = "inconclusive"
    """That of the step's last look."""
    reason: str = ""
    last_pause: str = ""
    """Why it was paused last: what somebody has resumed it from does not pause it again."""

    @property
    def begun(self) -> bool:
        """Whether the revision has got requests, or been tried."""
        return self.step > 0 or self.begun_at is not None

    @property
    def current(self) -> PlannedStep | None:
        """None once all steps are done."""
        return self.plan.steps[self.step] if self.step < len(self.plan.steps) else None

    @property
    def weights(self) -> dict[int, int]:
        """Those of the current step."""
        weight = self.current.weight if self.current else ALL
        shares = {self.baseline: ALL - weight, self.revision: weight}
        return {revision: share for revision, share in shares.items() if share}


def advance(
    rollout: RolloutState, in_effect: Mapping[int, int], deadline: float, now: float, waits_for: str = ""
) -> Decision:
    """The next action for a revision that is ready; `waits_for` is what a change of the weights waits for."""
    step = rollout.current
    if in_effect != rollout.weights and not (rollout.paused and rollout.begun_at is None):
        if waits_for and now >= deadline and not rollout.paused:
            share = step.weight if step else ALL
            return Decision(Fail(f"{share} % of the requests were not sent to it in time: {waits_for}"))
        return Decision(SplitTraffic(rollout.weights) if step else Promote(rollout.revision))
    if rollout.paused:
        return Decision()
    if step is None:
        return Decision(Succeed())
    if rollout.begun_at is None:
        return Decision(BeginStep())
    return judged(rollout, step, rollout.begun_at + step.interval, deadline, now)


def judged(rollout: RolloutState, step: PlannedStep, ends_at: float, deadline: float, now: float) -> Decision:
    """What becomes of a step that is under way."""
    if step.judged and rollout.verdict == "fail":
        return Decision(Fail(rollout.reason))
    look_at = None
    if step.judged:
        look_at = now if rollout.looked_at is None else rollout.looked_at + step.look_interval
        if now >= look_at:
            return Decision(Judge())
    if now >= ends_at and (not step.judged or rollout.verdict == "pass"):
        return Decision(NextStep())
    if now >= deadline:
        reason = f"step {rollout.step + 1} ({step.weight} %) had no verdict in time: {rollout.reason}"
        return Decision(PauseRollout(reason) if step.inconclusive == "pause" else Fail(reason))
    return Decision(again_at=earliest(ends_at if now < ends_at else None, look_at, deadline))
