"""Makes one target as the store says: see, decide, act, and note what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlalchemy import Connection

from controlplane.actions import (
    ALL,
    Action,
    Apply,
    BeginStep,
    Discard,
    Fail,
    Judge,
    NextStep,
    PauseRollout,
    Promote,
    SplitTraffic,
    Succeed,
    earliest,
)
from controlplane.backends.backend import ApplyRefused, Backend, BackendAway, Key, StillUnderWay
from controlplane.changes import approvals
from controlplane.changes.context import BackendOf, ChangeContext
from controlplane.decide import ChangeUnderWay, Desired, Observed, decide
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.revisions import Content
from controlplane.failpoints import failpoint
from controlplane.loops.actor import ACTOR
from controlplane.loops.metrics import LoopMetrics
from controlplane.loops.stepping import RolloutSteps, state_of
from controlplane.rollout import RolloutState
from controlplane.store import environments, events, leases, operations, rollouts, targets
from controlplane.store.database import Store
from controlplane.store.leases import Lease
from controlplane.store.operations import Operation
from controlplane.store.targets import ServeTarget

log = logging.getLogger("controlplane")

TAKE_OVER = "take-over"
REFUSED_SECONDS = 60.0
"""Between two attempts to apply what was refused while nobody changes it."""
MAX_STEPS = 20
"""Actions for one key in a row; the others are not kept waiting for ever."""


class Reconciler:
    def __init__(
        self, store: Store, backend_of: BackendOf, lease: Callable[[], Lease], metrics: LoopMetrics | None = None
    ) -> None:
        """`lease` raises FencedOff unless this control plane acts."""
        self.store, self.backend_of, self.lease = store, backend_of, lease
        self.metrics = metrics or LoopMetrics()
        self.steps = RolloutSteps(store, self.metrics)
        self.ended: Callable[[Operation, operations.State, str, float], None] = lambda *_: None
        """Is told of each change that has ended by itself."""
        self.last_seen: dict[Key, Observed] = {}
        """What was there of each target when it was seen to; nothing while its back end does not answer."""
        self.away_since: dict[Key, float] = {}
        """When a back end did not answer first, or the time since then was last given to the change."""

    def reconcile(self, key: Key) -> float | None:
        """Acts until nothing is left to do now; when to see again. Raises BackendAway, FencedOff."""
        for _ in range(MAX_STEPS):
            lease = self.lease()
            with self.store.reading() as tx:
                target = targets.find(tx, key.serve, key.env)
                backend = self.backend_of(self.environment(tx, key, target))
                desired = desired_of(tx, target)
                content = content_of(tx, target)
                waiting = waiting_for(tx, target)
            if waiting is not None and waiting.deadline <= self.store.now():
                self.expire(lease, waiting)
                continue
            if target is None:
                self.last_seen.pop(key, None)
            if target is None and not backend.owns(key):
                return None  # it may be another store's
            observed = self.observe(lease, key, target, backend, content)
            if observed is None:
                continue
            if target is not None:
                self.last_seen[key] = observed
            if observed.conflicts and target is not None and desired.change is None:
                self.note_error(lease, target, "conflict", f"others have changed it: {observed.conflicts[0]}")
            if desired.change is None and len(observed.instances) > 1:
                desired = self.keeping(desired, key)
            decision = decide(desired, observed, self.store.now())
            if decision.action is None:
                if target is None and not observed.instances:
                    self.fence(lease)
                    backend.forget(key)
                return earliest(decision.again_at, waiting.deadline if waiting else None)
            log.debug("%s: %s", key, decision.action)
            try:
                refused = self.carry_out(decision.action, lease, key, target, desired, backend, observed)
            except StillUnderWay as waiting:
                log.debug("%s: waits: %s", key, waiting)
                return earliest(self.store.now() + observed.poll_interval, decision.again_at)
            if refused:
                return self.store.now() + REFUSED_SECONDS
        return self.store.now()

    def carry_out(
        self, action: Action, lease: Lease, key: Key, target: ServeTarget | None, desired: Desired, backend: Backend,
        observed: Observed,
    ) -> bool:  # fmt: skip
        """Whether it was refused while nobody changes the target. Raises StillUnderWay."""
        rollout = desired.change.rollout if desired.change is not None else None
        match action:
            case Apply(revision) if target is not None:
                return not self.apply(lease, target, backend, key, revision, observed, rollout)
            case Promote(revision):
                self.split(lease, backend, key, {revision: ALL})
            case SplitTraffic(weights):
                self.split(lease, backend, key, weights)
            case Discard(revision):
                self.fence(lease)
                failpoint("before_discard")
                backend.discard(key, revision)
                failpoint("after_discard")
            case BeginStep() | Judge() | PauseRollout() | NextStep() if rollout is not None:
                self.steps.carry_out(action, lease, key, backend, rollout)
            case Succeed() if target is not None:
                self.note_success(lease, target)
            case Fail(reason) if target is not None:
                self.note_failure(lease, target, reason, observed)
        return False

    def keeping(self, desired: Desired, key: Key) -> Desired:
        """The same, with the revision that its rollout keeps for a while."""
        with self.store.reading() as tx:
            last = rollouts.newest(tx, key.serve, key.env)
        if last is None or last.keep_until is None or last.revision != desired.active:
            return desired
        return replace(desired, kept=last.baseline, kept_until=last.keep_until)

    def observe(
        self, lease: Lease, key: Key, target: ServeTarget | None, backend: Backend, content: Content | None
    ) -> Observed | None:
        """What is there. While nothing can be known, the time of a change does not pass; None if it was just given."""
        try:
            observed = backend.observe(key, target.wanted if target else None, content)
        except BackendAway:
            self.last_seen.pop(key, None)
            self.postpone(lease, key, target)
            raise
        if key in self.away_since:
            self.postpone(lease, key, target)
            del self.away_since[key]
            return None
        return observed

    def postpone(self, lease: Lease, key: Key, target: ServeTarget | None) -> None:
        now = self.store.now()
        since = self.away_since.setdefault(key, now)
        if target is None or target.operation is None or now <= since:
            return
        self.away_since[key] = now
        with self.store.writing() as tx:
            leases.require(tx, lease)
            operation = operations.find(tx, target.operation)
            if operation is not None:
                operations.postpone(tx, now, operation, now - since)
            rollout = rollouts.find(tx, target.operation)
            if rollout is not None and rollout.step_at is not None:
                rollouts.change(tx, now, rollout, step_at=rollout.step_at + now - since)

    def environment(self, tx: Connection, key: Key, target: ServeTarget | None) -> EnvironmentConfig:
        known = environments.find(tx, key.env)
        return known.config if known is not None else EnvironmentConfig()

    def fence(self, lease: Lease) -> None:
        """Before anything is done outside the store: is it still ours to do?"""
        with self.store.reading() as tx:
            leases.require(tx, lease)

    def split(self, lease: Lease, backend: Backend, key: Key, weights: Mapping[int, int]) -> None:
        self.fence(lease)
        failpoint("before_split")
        backend.split(key, weights)

    def apply(
        self, lease: Lease, target: ServeTarget, backend: Backend, key: Key, revision: int, observed: Observed,
        rollout: RolloutState | None,
    ) -> bool:  # fmt: skip
        """Whether the back end has accepted the revision."""
        with self.store.reading() as tx:
            leases.require(tx, lease)
            content: Content = targets.revision(tx, key.serve, key.env, revision).content
            operation = running(tx, target)
        if target.active == revision:
            target = self.note_repair(lease, target, revision, observed)
        failpoint("before_apply")
        try:
            takes_over = operation is not None and operation.kind == TAKE_OVER
            backend.apply(key, revision, content, takes_over, rollout is not None and revision == rollout.revision)
        except ApplyRefused as error:
            if operation is None:
                self.note_error(lease, target, "refused", f"revision {revision} cannot be applied: {error}")
                return False
            self.note_failure(lease, target, f"revision {revision} was refused: {error}", observed)
        return True

    def expire(self, lease: Lease, operation: Operation) -> None:
        """Nobody has approved a change in time."""
        with self.store.writing() as tx:
            leases.require(tx, lease)
            approvals.expire(ChangeContext(tx, self.store.now(), ACTOR, self.backend_of), operation)

    def note_repair(self, lease: Lease, target: ServeTarget, revision: int, observed: Observed) -> ServeTarget:
        """An active revision ended by itself or was deleted by somebody, and is started or made again."""
        instance = observed.instance(revision)
        if instance is None:
            if observed.instances or target.operation is not None:
                return target  # it takes the place of one that has failed
            action, message = "repair", f"revision {revision} was gone and is made again"
        elif instance.phase == "incomplete":
            action, message = "repair", f"revision {revision} is completed: {instance.message}"
        else:
            action, message = "restart", f"revision {revision} ended and is started again: {instance.message}"
        return self.note_error(lease, target, action, message)

    def note_error(self, lease: Lease, target: ServeTarget, action: str, message: str) -> ServeTarget:
        """Notes what has gone wrong with what is active, if it is not the last thing that was noted."""
        if target.last_error == message and action not in ("repair", "restart"):
            return target
        log.warning("%s/%s: %s", target.env, target.serve, message)
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            changed = targets.change(tx, now, target, last_error=message, last_error_at=now)
            events.add(tx, now, ACTOR, action, serve=target.serve, env=target.env, message=message)
        return changed

    def note_success(self, lease: Lease, target: ServeTarget) -> None:
        failpoint("before_note")
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            if target.active is not None and target.active != target.wanted:
                targets.set_deployment(tx, now, target, target.active, "ENDED")
            if target.wanted is not None:
                targets.set_deployment(tx, now, target, target.wanted, "ACTIVE")
            rollout = rollouts.find(tx, target.operation)
            if rollout is not None and rollout.plan.keep:
                rollouts.change(tx, now, rollout, keep_until=now + rollout.plan.keep)
            self.end_operation(tx, now, target, "SUCCEEDED", "")
            targets.change(tx, now, target, active=target.wanted, operation=None)
        failpoint("after_note")

    def note_failure(self, lease: Lease, target: ServeTarget, reason: str, observed: Observed) -> None:
        """The change has failed: what was active before is wanted again."""
        failpoint("before_note")
        log.error("%s/%s: %s", target.env, target.serve, reason)
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            if target.wanted is not None:
                targets.set_deployment(tx, now, target, target.wanted, "FAILED", reason)
            if (rollout := rollouts.find(tx, target.operation)) is not None:
                rollouts.end_step(tx, now, rollout, "FAILED", reason)
                self.metrics.steps.labels("failed").inc()
            self.end_operation(tx, now, target, "FAILED", reason)
            targets.change(
                tx, now, target, wanted=target.active, operation=None, last_error=reason, last_error_at=now
            )  # fmt: skip
        failpoint("after_note")

    def end_operation(
        self, tx: Connection, now: float, target: ServeTarget, state: operations.State, message: str
    ) -> None:
        operation = operations.find(tx, target.operation or "")
        if operation is None:
            return
        operations.end(tx, now, operation, state, message)
        self.steps.judge.forget(operation.id)
        self.metrics.operations.labels(operation.kind, state).inc()
        self.ended(operation, state, message, now)
        events.add(
            tx, now, ACTOR, f"{operation.kind}.{state.lower()}",
            serve=target.serve, env=target.env, operation=operation.id, message=message,
            before={"revision": target.active}, after={"revision": target.wanted},
        )  # fmt: skip


def desired_of(tx: Connection, target: ServeTarget | None) -> Desired:
    """What the store wants; nothing of a target that it does not know."""
    if target is None:
        return Desired(None)
    operation = running(tx, target)
    if operation is not None:
        state = state_of(rollouts.find(tx, operation.id))
        return Desired(
            target.wanted, target.active, ChangeUnderWay(operation.deadline, operation.kind == TAKE_OVER, state)
        )
    return Desired(target.wanted, target.active)


def running(tx: Connection, target: ServeTarget) -> Operation | None:
    """The change of a target that is carried out."""
    operation = operations.find(tx, target.operation) if target.operation else None
    return operation if operation is not None and operation.state == "RUNNING" else None


def waiting_for(tx: Connection, target: ServeTarget | None) -> Operation | None:
    """The change of a target that waits for approval."""
    operation = operations.find(tx, target.operation) if target and target.operation else None
    return operation if operation is not None and operation.state == "WAITING" else None


def content_of(tx: Connection, target: ServeTarget | None) -> Content | None:
    """What the wanted revision says."""
    if target is None or target.wanted is None:
        return None
    return targets.revision(tx, target.serve, target.env, target.wanted).content
