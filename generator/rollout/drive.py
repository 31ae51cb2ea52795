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


class PatientCluster(RolloutCluster, Protocol):
    """One that can be waited for."""

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


class PlanDriver:
    """Carries out a plan as far as it gets without waiting, each time that it is asked to go on."""

    def __init__(
        self,
        plan: RolloutPlan,
        cluster: RolloutCluster,
        tell: Callable[[StepProgress], None],
        wait_seconds: float = WAIT_SECONDS,
        require_seconds: float = REQUIRE_SECONDS,
    ) -> None:
        self.plan, self.cluster, self.tell = plan, cluster, tell
        self.wait_seconds, self.require_seconds = wait_seconds, require_seconds
        self.number = 0
        """Steps that have been carried out."""
        self.begun: float | None = None
        """When the step under way was come to."""
        self.acted: float | None = None
        """When its actions had been carried out."""
        self.since: float | None = None
        """Since when all conditions after it hold."""
        self.missing: tuple[Condition, ...] = ()
        """What is waited for."""

    def go_on(self) -> bool:
        """Whether all steps have been carried out. Raises RolloutStopped at the first thing that is not so in time."""
        while self.number < len(self.plan.steps):
            step = self.plan.steps[self.number]
            observed = self.cluster.observe()
            if self.begun is None and step.moot and not unmet(step.moot, observed):
                self.report(step, "passed")
            elif not ((self.acted is not None or self.acts(step, observed)) and self.holds(step)):
                return False
            self.number, self.missing = self.number + 1, ()
            self.begun = self.acted = self.since = None
        return True

    def acts(self, step: Step, observed: ObservedServe) -> bool:
        """Carries the actions out, if what must hold before them does: an autoscaler or a new pod may take a while."""
        now = self.cluster.now()
        self.begun = now if self.begun is None else self.begun
        if is_done(step, observed):
            self.report(step, "passed")
        else:
            self.missing = tuple(unmet(step.requires, observed))
            if self.missing:
                if now - self.begun > self.require_seconds:
                    raise RolloutStopped(self.number + 1, step, self.missing, None)
                return False
            self.report(step, "begun")
            for action in step.actions:
                self.cluster.carry_out(action)
        self.acted = self.cluster.now()
        return True

    def holds(self, step: Step) -> bool:
        """Whether the conditions after a step hold, and have for as long as it takes to settle."""
        self.missing = tuple(unmet(step.waits, self.cluster.observe()))
        now = self.cluster.now()
        assert self.begun is not None  # noqa: S101 - the step has acted
        assert self.acted is not None  # noqa: S101
        if self.missing:
            self.since = None
            if now - self.acted > self.wait_seconds:
                raise RolloutStopped(self.number + 1, step, self.missing, self.wait_seconds)
            self.report(step, "waiting", now - self.acted)
            return False
        self.since = now if self.since is None else self.since
        if now - self.since < step.settle:
            return False
        self.report(step, "finished", now - self.begun)
        return True

    def report(self, step: Step, state: str, seconds: float = 0) -> None:
        missing = self.missing if state == "waiting" else ()
        self.tell(StepProgress(self.number + 1, len(self.plan.steps), step, state, seconds, missing))


def drive(
    plan: RolloutPlan, cluster: PatientCluster, tell: Callable[[StepProgress], None], wait_seconds: float = WAIT_SECONDS
) -> None:
    """Carries out all steps. Raises RolloutStopped at the first thing that is not so."""
    driver = PlanDriver(plan, cluster, tell, wait_seconds)
    while not driver.go_on():
        cluster.pause()


def is_done(step: Step, observed: ObservedServe) -> bool:
    return bool(step.done) and not unmet(step.done, observed)


def has_begun(plan: RolloutPlan, observed: ObservedServe) -> bool:
    """Whether some steps have been carried out before, by a run that was interrupted."""
    return any(is_done(step, observed) or (step.moot and not unmet(step.moot, observed)) for step in plan.steps)


def unmet(conditions: Iterable[Condition], observed: ObservedServe) -> list[Condition]:
    return [each for each in conditions if not each.holds(observed)]
