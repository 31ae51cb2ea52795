"""Makes one target as the store says: see, decide, act, and note what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sqlalchemy import Connection

from controlplane.backends.backend import Backend, Key
from controlplane.changes.context import BackendOf
from controlplane.decide import (
    Apply,
    ChangeUnderWay,
    Desired,
    Discard,
    Fail,
    Instance,
    Observed,
    Promote,
    Succeed,
    decide,
)
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.revisions import Content
from controlplane.failpoints import failpoint
from controlplane.loops.metrics import LoopMetrics
from controlplane.store import environments, events, leases, operations, targets
from controlplane.store.database import Store
from controlplane.store.events import Actor
from controlplane.store.leases import Lease
from controlplane.store.targets import ServeTarget

log = logging.getLogger("controlplane")

ACTOR = Actor("controlplane", "loop")
MAX_STEPS = 20
"""Actions for one key in a row; the others are not kept waiting for ever."""


class Reconciler:
    def __init__(
        self, store: Store, backend_of: BackendOf, lease: Callable[[], Lease], metrics: LoopMetrics | None = None
    ) -> None:
        """`lease` raises FencedOff unless this control plane acts."""
        self.store, self.backend_of, self.lease = store, backend_of, lease
        self.metrics = metrics or LoopMetrics()

    def reconcile(self, key: Key) -> float | None:
        """Acts until nothing is left to do now; when to see again. Raises BackendAway, FencedOff."""
        for _ in range(MAX_STEPS):
            lease = self.lease()
            with self.store.reading() as tx:
                target = targets.find(tx, key.serve, key.env)
                backend = self.backend_of(self.environment(tx, key, target))
                desired = desired_of(tx, target)
            observed = backend.observe(key)
            decision = decide(desired, observed, self.store.now())
            if decision.action is None:
                return decision.again_at
            log.debug("%s: %s", key, decision.action)
            match decision.action:
                case Apply(revision):
                    if target is not None:
                        self.apply(lease, target, backend, key, revision, observed.instance(revision))
                case Promote(revision):
                    self.fence(lease)
                    failpoint("before_promote")
                    backend.promote(key, revision)
                case Discard(revision):
                    self.fence(lease)
                    failpoint("before_discard")
                    backend.discard(key, revision)
                    failpoint("after_discard")
                case Succeed():
                    if target is not None:
                        self.note_success(lease, target)
                case Fail(reason):
                    if target is not None:
                        self.note_failure(lease, target, reason, observed)
        return self.store.now()

    def environment(self, tx: Connection, key: Key, target: ServeTarget | None) -> EnvironmentConfig:
        known = environments.find(tx, key.env)
        return known.config if known is not None else EnvironmentConfig()

    def fence(self, lease: Lease) -> None:
        """Before anything is done outside the store: is it still ours to do?"""
        with self.store.reading() as tx:
            leases.require(tx, lease)

    def apply(
        self, lease: Lease, target: ServeTarget, backend: Backend, key: Key, revision: int, instance: Instance | None
    ) -> None:
        with self.store.reading() as tx:
            leases.require(tx, lease)
            content: Content = targets.revision(tx, key.serve, key.env, revision).content
        if instance is not None and target.active == revision:
            self.note_restart(lease, target, revision, instance)
        failpoint("before_apply")
        backend.apply(key, revision, content)

    def note_restart(self, lease: Lease, target: ServeTarget, revision: int, instance: Instance) -> None:
        """An active revision ended by itself, and is started again."""
        message = f"revision {revision} ended and is started again: {instance.message}"
        log.warning("%s/%s: %s", target.env, target.serve, message)
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            targets.change(tx, now, target, last_error=message, last_error_at=now)
            events.add(tx, now, ACTOR, "restart", serve=target.serve, env=target.env, message=message)

    def note_success(self, lease: Lease, target: ServeTarget) -> None:
        failpoint("before_note")
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            if target.active is not None and target.active != target.wanted:
                targets.set_deployment(tx, now, target, target.active, "ENDED")
            if target.wanted is not None:
                targets.set_deployment(tx, now, target, target.wanted, "ACTIVE")
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
        self.metrics.operations.labels(operation.kind, state).inc()
        events.add(
            tx, now, ACTOR, f"{operation.kind}.{state.lower()}",
            serve=target.serve, env=target.env, operation=operation.id, message=message,
            before={"revision": target.active}, after={"revision": target.wanted},
        )  # fmt: skip


def desired_of(tx: Connection, target: ServeTarget | None) -> Desired:
    """What the store wants; nothing of a target that it does not know."""
    if target is None:
        return Desired(None)
    operation = operations.find(tx, target.operation) if target.operation else None
    return Desired(target.wanted, target.active, ChangeUnderWay(operation.deadline) if operation else None)
