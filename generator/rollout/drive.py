"""Carries a plan out: step by step, in a cluster that somebody else talks to. A plan may be carried out again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from generator.rollout.actions import Action
from generator.rollout.conditions import Condition
from generator.rollout.observed import ObservedServe
from generator.rollout.steps import RolloutPlan, Step

WAIT_SECONDS = 900.0
"""Time for the conditions after a step, such as pods that load a model."""
REQUIRE_SECONDS = 30.0
"""Time in which a condition before a step may come to hold: a Deployment that scales is not settled for a moment."""


class RolloutCluster(Protocol):
    """Whatever carries out actions and says what is there."""

    @abstractmethod
    def observe(self) -> ObservedServe: ...

    @abstractmethod
    def carry_out(self, action: Action) -> None: ...

    @abstractmethod
    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    @abstractmethod
    def pause(self) -> None:
        """Lets some time pass between two observations."""


@dataclass(frozen=True, slots=True)
class StepProgress:
    """What the driver tells about a step."""

    number: int
    of: int
    step: Step
    state: str
    """`begun`, `passed` (nothing to do), `waiting` or `finished`."""
    seconds: float = 0
    missing: tuple[Condition, ...] = ()


class RolloutStopped(Exception):
    """A step's condition does not hold; nothing more was done."""

    def __init__(self, number: int, step: Step, missing: Iterable[Condition], after: float | None) -> None:
        self.number, self.step, self.missing = number, step, tuple(missing)
        when = "before it" if after is None else f"within {after:g} s after it"
        what = "; ".join(map(str, self.missing))
        super().__init__(f"step {number} ({step.text}): {when} this does not hold: {what}")


def drive(
    plan: RolloutPlan, cluster: RolloutCluster, tell: Callable[[StepProgress], None], wait_seconds: float = WAIT_SECONDS
) -> None:
    """Carries out all steps. Raises RolloutStopped at the first thing that is not so."""
    total = len(plan.steps)
    for number, step in enumerate(plan.steps, 1):
        observed = cluster.observe()
        if step.moot and not unmet(step.moot, observed):
            tell(StepProgress(number, total, step, "passed"))
            continue
        begun = cluster.now()
        if is_done(step, observed):
            tell(StepProgress(number, total, step, "passed"))
        else:
            require(cluster, number, step)
            tell(StepProgress(number, total, step, "begun"))
            for action in step.actions:
                cluster.carry_out(action)
        wait(cluster, number, total, step, tell, wait_seconds)
        tell(StepProgress(number, total, step, "finished", cluster.now() - begun))


def require(cluster: RolloutCluster, number: int, step: Step) -> None:
    """Stops if something that must hold before a step does not, for longer than an autoscaler or a new pod takes."""
    begun = cluster.now()
    while missing := unmet(step.requires, cluster.observe()) if step.requires else []:
        if cluster.now() - begun > REQUIRE_SECONDS:
            raise RolloutStopped(number, step, missing, None)
        cluster.pause()


def wait(
    cluster: RolloutCluster, number: int, total: int, step: Step, tell: Callable[[StepProgress], None], limit: float
) -> None:
    """Waits until the conditions after a step hold, and go on holding for as long as it takes to settle."""
    begun = cluster.now()
    since: float | None = None
    while True:
        missing = unmet(step.waits, cluster.observe()) if step.waits else []
        now = cluster.now()
        if missing:
            since = None
            if now - begun > limit:
                raise RolloutStopped(number, step, missing, limit)
            tell(StepProgress(number, total, step, "waiting", now - begun, tuple(missing)))
        else:
            since = now if since is None else since
            if now - since >= step.settle:
                return
        cluster.pause()


def is_done(step: Step, observed: ObservedServe) -> bool:
    return bool(step.done) and not unmet(step.done, observed)


def has_begun(plan: RolloutPlan, observed: ObservedServe) -> bool:
    """Whether some steps have been carried out before, by a run that was interrupted."""
    return any(is_done(step, observed) or (step.moot and not unmet(step.moot, observed)) for step in plan.steps)


def unmet(conditions: Iterable[Condition], observed: ObservedServe) -> list[Condition]:
    return [each for each in conditions if not each.holds(observed)]
