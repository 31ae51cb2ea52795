"""Rollouts: how far a change has come on its way to all requests, and the steps that it has taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from controlplane.domain.rollouts import TrafficPlan
from controlplane.store import tables
from controlplane.store.generations import check_generation
from controlplane.store.operations import Operation
from controlplane.store.paging import one_page
from monitoring.verdict import Look, Verdict, look_from

T, S, L, O = tables.rollout, tables.rollout_step, tables.rollout_look, tables.operation  # noqa: E741
StepOutcome = Literal["RUNNING", "PASSED", "SKIPPED", "FAILED", "ABORTED"]


@dataclass(frozen=True, slots=True)
class StoredRollout:
    operation: str
    serve: str
    env: str
    revision: int
    baseline: int
    """The revision that is active meanwhile."""
    plan: TrafficPlan
    step: int
    """From 0; as many as the plan has steps once all are done."""
    step_at: float | None
    """When the clock of the step began, moved by pauses; None until the step's weights are in effect."""
    paused_at: float | None
    paused_by: str
    pause_reason: str
    looked_at: float | None
    verdict: Verdict
    """That of the step's last look."""
    verdict_reason: str
    keep_until: float | None
    """How long the baseline stays after the end."""
    generation: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class RolloutStep:
    operation: str
    number: int
    weight: int
    begun_at: float
    ended_at: float | None
    outcome: StepOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class KeptLook:
    """What was known of a rollout at a moment, and the verdict on it."""

    operation: str
    number: int
    step: int
    at: float
    verdict: Verdict
    look: Look


def of(row: Row[Any]) -> StoredRollout:
    return StoredRollout(**{**row._mapping, "plan": TrafficPlan.model_validate(row.plan)})


def find(tx: Connection, operation: str | None) -> StoredRollout | None:
    """The rollout of an operation, if it has one."""
    row = tx.execute(select(T).where(T.c.operation == operation)).one_or_none()
    return None if row is None else of(row)


def newest(tx: Connection, serve: str, env: str) -> StoredRollout | None:
    query = select(T).where(T.c.serve == serve, T.c.env == env)
    row = tx.execute(query.order_by(T.c.created_at.desc(), T.c.revision.desc()).limit(1)).one_or_none()
    return None if row is None else of(row)


def under_way(tx: Connection) -> tuple[int, int]:
    """How many go on, and how many are paused."""
    runs = (O.c.id == T.c.operation) & (O.c.state == "RUNNING")
    rows = [row.paused_at for row in tx.execute(select(T.c.paused_at).join(O, runs))]
    return rows.count(None), len(rows) - rows.count(None)


def listed(tx: Connection, serve: str, env: str | None, page: int, limit: int) -> tuple[list[StoredRollout], int]:
    """One page, the newest first, and how many there are."""
    query = select(T).where(T.c.serve == serve)
    if env:
        query = query.where(T.c.env == env)
    rows, total = one_page(tx, query.order_by(T.c.created_at.desc(), T.c.env, T.c.revision.desc()), page, limit)
    return [of(row) for row in rows], total


def add(tx: Connection, now: float, operation: Operation, baseline: int, plan: TrafficPlan) -> StoredRollout:
    assert operation.revision is not None  # noqa: S101 - an undeployment has no steps
    rollout = StoredRollout(
        operation.id, operation.serve, operation.env, operation.revision, baseline, plan,
        step=0, step_at=None, paused_at=None, paused_by="", pause_reason="",
        looked_at=None, verdict="inconclusive", verdict_reason="", keep_until=None,
        generation=1, created_at=now, updated_at=now,
    )  # fmt: skip
    row = {name: getattr(rollout, name) for name in StoredRollout.__slots__} | {"plan": plan.model_dump(mode="json")}
    tx.execute(insert(T).values(row))
    return rollout


def change(tx: Connection, now: float, old: StoredRollout, **values: Any) -> StoredRollout:
    """Compares and swaps the generation."""
    new = {**values, "generation": old.generation + 1, "updated_at": now}
    same = (T.c.operation == old.operation) & (T.c.generation == old.generation)
    check_generation(tx.execute(update(T).where(same).values(new)))
    return of(tx.execute(select(T).where(T.c.operation == old.operation)).one())


def begin_step(tx: Connection, now: float, rollout: StoredRollout) -> StoredRollout:
    """The weights of the current step are in effect."""
    tx.execute(
        insert(S).values(
            operation=rollout.operation, number=rollout.step, weight=rollout.plan.steps[rollout.step].weight,
            begun_at=now, ended_at=None, outcome="RUNNING", reason="",
        )
    )  # fmt: skip
    return change(tx, now, rollout, step_at=now)


def end_step(
    tx: Connection, now: float, rollout: StoredRollout, outcome: StepOutcome, reason: str = ""
) -> None:  # fmt: skip
    """Notes what came of the current step, if it has begun."""
    running = (S.c.operation == rollout.operation) & (S.c.outcome == "RUNNING")
    tx.execute(update(S).where(running).values(ended_at=now, outcome=outcome, reason=reason))


def add_look(tx: Connection, now: float, rollout: StoredRollout, look: Look) -> None:
    """Keeps a look at the evidence; its verdict is that of the step from now on."""
    number = tx.execute(select(func.count()).where(L.c.operation == rollout.operation)).scalar_one()
    tx.execute(
        insert(L).values(
            operation=rollout.operation, number=number, step=rollout.step, at=now, verdict=look.verdict,
            look=look.plain(),
        )
    )  # fmt: skip
    change(tx, now, rollout, looked_at=now, verdict=look.verdict, verdict_reason=look.reason)


def looks(tx: Connection, operation: str, after: int = -1, limit: int | None = None) -> list[KeptLook]:
    """The looks of a rollout, the first one first."""
    query = select(L).where(L.c.operation == operation, L.c.number > after).order_by(L.c.number).limit(limit)
    return [KeptLook(**{**row._mapping, "look": look_from(row.look)}) for row in tx.execute(query)]


def steps(tx: Connection, operation: str) -> list[RolloutStep]:
    """Those that have begun."""
    rows = tx.execute(select(S).where(S.c.operation == operation).order_by(S.c.number))
    return [RolloutStep(**row._mapping) for row in rows]


def remove(tx: Connection, serve: str) -> None:
    """Removes the rollouts of a serve."""
    own = select(T.c.operation).where(T.c.serve == serve)
    for table in (S, L):
        tx.execute(delete(table).where(table.c.operation.in_(own)))
    tx.execute(delete(T).where(T.c.serve == serve))
