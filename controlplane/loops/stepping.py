"""The steps of rollouts, carried out: begun, judged, passed, paused.

Each is noted only if the rollout is as it was when the decision was made: a person may have changed it meanwhile.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from controlplane.actions import BeginStep, Judge, NextStep, PauseRollout
from controlplane.backends.backend import Backend, Key
from controlplane.changes.deploy import CHANGE_SECONDS
from controlplane.failpoints import failpoint
from controlplane.loops.actor import ACTOR
from controlplane.loops.judging import RolloutJudge
from controlplane.loops.metrics import LoopMetrics
from controlplane.rollout import RolloutState
from controlplane.store import events, leases, operations, rollouts, targets
from controlplane.store.database import Store
from controlplane.store.leases import Lease
from controlplane.store.rollouts import StoredRollout


class RolloutSteps:
    def __init__(self, store: Store, metrics: LoopMetrics) -> None:
        self.store, self.metrics = store, metrics
        self.judge = RolloutJudge()

    def carry_out(
        self, action: BeginStep | Judge | PauseRollout | NextStep, lease: Lease, key: Key, backend: Backend,
        decided_on: RolloutState,
    ) -> None:  # fmt: skip
        if isinstance(action, Judge):
            self.look(lease, key, backend, decided_on)
            return
        failpoint("before_step")
        with self.store.writing() as tx:
            leases.require(tx, lease)
            rollout = unchanged(tx, key, decided_on)
            if rollout is None:
                return
            match action:
                case BeginStep():
                    self.begin(tx, rollout)
                case NextStep():
                    self.end(tx, rollout)
                case PauseRollout(reason):
                    now = self.store.now()
                    rollouts.change(tx, now, rollout, paused_at=now, paused_by=ACTOR.name, pause_reason=reason)
                    self.note(tx, rollout, "rollout.pause", reason)
        failpoint("after_step")

    def begin(self, tx: Connection, rollout: StoredRollout) -> None:
        now = self.store.now()
        rollouts.begin_step(tx, now, rollout)
        operations.set_deadline(tx, now, rollout.operation, now + rollout.plan.steps[rollout.step].deadline)
        self.note(tx, rollout, "rollout.step", words(rollout))

    def end(self, tx: Connection, rollout: StoredRollout) -> None:
        now = self.store.now()
        reason = rollout.verdict_reason if rollout.plan.steps[rollout.step].judged else ""
        rollouts.end_step(tx, now, rollout, "PASSED", reason)
        rollouts.change(tx, now, rollout, step=rollout.step + 1, step_at=None, verdict="inconclusive")
        operations.set_deadline(tx, now, rollout.operation, now + CHANGE_SECONDS)  # until its weights are in effect
        self.note(tx, rollout, "rollout.passed", words(rollout))
        self.metrics.steps.labels("passed").inc()
        if rollout.step_at is not None:
            self.metrics.step_seconds.observe(now - rollout.step_at)

    def look(self, lease: Lease, key: Key, backend: Backend, decided_on: RolloutState) -> None:
        """Looks at the evidence, and keeps the look."""
        with self.store.reading() as tx:
            rollout = unchanged(tx, key, decided_on)
            if rollout is None:
                return
            if not self.judge.knows(rollout.operation):
                self.judge.follow(backend, key, rollout, rollouts.looks(tx, rollout.operation))
        look = self.judge.look(backend, key, rollout, self.store.now())
        with self.store.writing() as tx:
            leases.require(tx, lease)
            rollouts.add_look(tx, self.store.now(), rollout, look)
            self.metrics.looks.labels(look.verdict).inc()
            if look.verdict != rollout.verdict or rollout.looked_at is None:
                self.note(tx, rollout, "rollout.verdict", look.reason, {"verdict": look.verdict})

    def note(self, tx: Connection, rollout: StoredRollout, action: str, message: str, after: Any = None) -> None:
        events.add(
            tx, self.store.now(), ACTOR, action,
            serve=rollout.serve, env=rollout.env, operation=rollout.operation, message=message, after=after,
        )  # fmt: skip


def unchanged(tx: Connection, key: Key, decided_on: RolloutState) -> StoredRollout | None:
    """The rollout that is under way, if it still is what the decision was made on."""
    target = targets.find(tx, key.serve, key.env)
    rollout = rollouts.find(tx, target.operation) if target is not None else None
    return rollout if rollout is not None and state_of(rollout) == decided_on else None


def state_of(rollout: StoredRollout | None) -> RolloutState | None:
    """How far a rollout is, as the decision needs it."""
    if rollout is None:
        return None
    return RolloutState(
        rollout.plan, rollout.baseline, rollout.revision, rollout.step, rollout.step_at,
        paused=rollout.paused_at is not None, looked_at=rollout.looked_at,
        verdict=rollout.verdict, reason=rollout.verdict_reason, last_pause=rollout.pause_reason,
    )  # fmt: skip


def words(rollout: StoredRollout) -> str:
    weight = rollout.plan.steps[rollout.step].weight
    return f"step {rollout.step + 1} of {len(rollout.plan.steps)}: {weight} % of the requests"
