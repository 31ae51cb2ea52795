"""The decision: from what is wanted, what is there and the time, to what is done next. A pure function.

A change either becomes active or leaves everything as it was: the revision that serves goes on until the wanted one has
answered, and it stays if the wanted one fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from controlplane.actions import (
    ALL,
    Apply,
    Decision,
    Discard,
    Fail,
    PauseRollout,
    Promote,
    SplitTraffic,
    Succeed,
    earliest,
)
from controlplane.rollout import RolloutState, advance

MAX_STARTS = 3
"""How often a revision may fail to start before its change fails."""

POLL_INTERVAL = 0.1
"""Seconds between looks at a revision that is starting."""

Phase = Literal["starting", "ready", "unready", "incomplete", "failed", "stopping"]
"""Of an incomplete revision something is missing that was applied, or was to be."""


@dataclass(frozen=True, slots=True)
class ChangeUnderWay:
    """A change under way."""

    deadline: float
    takes_over: bool = False
    """Whether fields that others have set are overwritten: a person has said so."""
    rollout: RolloutState | None = None
    """The steps by which the revision gets the requests; None: all at once."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What the store says of a target."""

    wanted: int | None
    active: int | None = None
    change: ChangeUnderWay | None = None
    kept: int | None = None
    """A revision that stays beside the active one for a while."""
    kept_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Instance:
    """One revision as the back end has it."""

    revision: int
    phase: Phase
    since: float
    starts: int = 1
    """How often it was started in a row."""
    due_at: float = 0.0
    """When a failed one may be started again, or one that is stopping is ended."""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For people: its process, its address."""


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that somebody else has set to another value than the wanted revision says."""

    resource: str
    field: str
    manager: str
    theirs: Any
    ours: Any
    overlay: Mapping[str, Any]
    """The object with nothing but their value."""

    def __str__(self) -> str:
        return f"{self.resource}: {self.field} is {self.theirs!r}, set by {self.manager}, and not {self.ours!r}"


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    desired: int
    ready: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there of a target."""

    instances: tuple[Instance, ...] = ()
    weights: Mapping[int, int] = field(default_factory=dict)
    """The percent of the requests that each revision gets; nothing of those that get none."""
    url: str | None = None
    in_place: bool = False
    """Whether a revision replaces the one before: the back end keeps that one's pods until the new ones are ready."""
    conflicts: tuple[FieldConflict, ...] = ()
    replicas: ReplicaCount | None = None
    """None where an instance is one process."""
    pods: tuple[Mapping[str, Any], ...] | None = None
    """For people; None where an instance is one process."""
    others: Mapping[str, list[str]] = field(default_factory=dict)
    """Fields that others have added, by manager; they are left alone."""
    poll_interval: float = POLL_INTERVAL
    waits_for: str = ""
    """What a change of the weights waits for, while one is under way."""
    weights_by: str = ""
    """Who else has set the weights, when and to what; nothing if nobody has."""

    @property
    def serving(self) -> int | None:
        """The revision that most requests go to; of two that get as many, the older one."""
        return max(self.weights, key=lambda revision: (self.weights[revision], -revision), default=None)

    def gets_all(self, revision: int) -> bool:
        return self.weights == {revision: ALL}

    def instance(self, revision: int | None) -> Instance | None:
        return next((each for each in self.instances if each.revision == revision), None)


def decide(desired: Desired, observed: Observed, now: float) -> Decision:
    """The next action for a target, or when to see again."""
    overdue = [each for each in observed.instances if each.phase == "stopping" and now >= each.due_at]
    if overdue:
        return Decision(Discard(overdue[0].revision))
    if desired.wanted is None:
        return stopped(desired, observed)
    if observed.conflicts and not (desired.change and desired.change.takes_over):
        return paused(desired, observed)
    if desired.change is None:
        return kept(desired, desired.wanted, observed, now)
    decision = rolled_out(desired.wanted, desired.change, observed, now)
    if desired.active is None or desired.active == desired.wanted or isinstance(decision.action, Succeed | Fail):
        return decision
    if observed.in_place:
        return decision
    meanwhile = kept_up(desired.active, observed, now)
    if isinstance(decision.action, SplitTraffic) and meanwhile.action is not None:
        return meanwhile  # it gets a part of the requests
    if decision.action is None or isinstance(decision.action, Apply):
        return Decision(decision.action or meanwhile.action, earliest(decision.again_at, meanwhile.again_at))
    return decision


def stopped(desired: Desired, observed: Observed) -> Decision:
    """Nothing should serve."""
    running = [each for each in observed.instances if each.phase != "stopping"]
    if running:
        return Decision(Discard(running[0].revision))
    if observed.instances:
        return Decision(again_at=min(each.due_at for each in observed.instances))
    return Decision(Succeed() if desired.change else None)


def paused(desired: Desired, observed: Observed) -> Decision:
    """Somebody else has set fields to other values: nothing is done until a person has said whose are right."""
    if desired.change is None:
        return Decision()
    return Decision(Fail(f"others have changed what revision {desired.wanted} says: {observed.conflicts[0]}"))


def rolled_out(wanted: int, change: ChangeUnderWay, observed: Observed, now: float) -> Decision:
    """A revision should become active."""
    instance = observed.instance(wanted)
    if instance is not None and instance.phase == "ready":
        if change.rollout is not None:
            if observed.weights_by not in ("", change.rollout.last_pause):
                return Decision(None if change.rollout.paused else PauseRollout(observed.weights_by))
            if observed.weights_by and change.rollout.paused:
                return Decision()
            return advance(change.rollout, observed.weights, change.deadline, now, observed.waits_for)
        return Decision(Succeed() if observed.gets_all(wanted) else Promote(wanted))
    if change.rollout is not None and change.rollout.begun and (instance is None or instance.phase == "failed"):
        return Decision(Fail(f"revision {wanted} ended during its rollout: {instance.message if instance else 'gone'}"))
    if instance is not None and instance.phase == "failed" and instance.starts >= MAX_STARTS:
        return Decision(Fail(f"revision {wanted} failed to start {instance.starts} times: {instance.message}"))
    if now >= change.deadline and not (change.rollout and change.rollout.paused):
        state = f": {instance.message}" if instance is not None and instance.message else ""
        return Decision(Fail(f"revision {wanted} was not ready in time{state}"))
    decision = kept_up(wanted, observed, now)
    return Decision(decision.action, earliest(decision.again_at, change.deadline))


def kept(desired: Desired, wanted: int, observed: Observed, now: float) -> Decision:
    """A revision is active, and should stay so; others should not be there."""
    decision = kept_up(wanted, observed, now)
    instance = observed.instance(wanted)
    if decision.action is not None or instance is None or instance.phase != "ready":
        return decision
    if not observed.gets_all(wanted):
        return Decision(Promote(wanted))
    others = [each for each in observed.instances if each.revision != wanted]
    running = [each for each in others if each.phase != "stopping"]
    spared = [each for each in running if each.revision == desired.kept and now < desired.kept_until]
    unneeded = [each for each in running if each not in spared]
    if unneeded:
        return Decision(Discard(unneeded[0].revision))
    stopping = [each.due_at for each in others if each.phase == "stopping"]
    return Decision(again_at=earliest(*stopping, desired.kept_until if spared else None))


def kept_up(revision: int, observed: Observed, now: float) -> Decision:
    """A revision should run, whether it serves or not."""
    instance = observed.instance(revision)
    if instance is None:
        return Decision(Apply(revision))
    if instance.phase == "incomplete" or (instance.phase == "failed" and not observed.in_place):
        return Decision(Apply(revision)) if now >= instance.due_at else Decision(again_at=instance.due_at)
    if instance.phase == "ready":
        return Decision()
    return Decision(again_at=now + observed.poll_interval)
