"""Operations: changes under way, and those that have ended."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update

from controlplane.domain.problems import not_found
from controlplane.store import tables
from controlplane.store.paging import one_page

T = tables.operation
Kind = Literal["deploy", "redeploy", "rollback", "undeploy", "adopt", "take-over", "retry", "undo"]
State = Literal["WAITING", "RUNNING", "SUCCEEDED", "FAILED", "ABORTED"]
UNDER_WAY = ("WAITING", "RUNNING")


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    kind: Kind
    serve: str
    env: str
    revision: int | None
    state: State
    message: str
    author: str
    created_at: float
    updated_at: float
    deadline: float
    """When it fails if it has not succeeded by then; of one that waits, when it expires."""


def of(row: Row[Any]) -> Operation:
    return Operation(**row._mapping)


def find(tx: Connection, id: str) -> Operation | None:
    row = tx.execute(select(T).where(T.c.id == id)).one_or_none()
    return None if row is None else of(row)


def get(tx: Connection, id: str) -> Operation:
    """Raises ApiProblem (404) if there is none."""
    operation = find(tx, id)
    if operation is None:
        raise not_found(
            "operation", id, "its id is in the reply to the change, and in GET /api/v1/serve/{name}/status/{env}"
        )
    return operation


def listed(
    tx: Connection, *, state: str | None, serve: str | None, env: str | None, page: int, limit: int
) -> tuple[list[Operation], int]:
    """One page, the newest first, and how many there are."""
    query = select(T)
    for column, value in ((T.c.state, state), (T.c.serve, serve), (T.c.env, env)):
        if value:
            query = query.where(column == value)
    rows, total = one_page(tx, query.order_by(T.c.created_at.desc(), T.c.id), page, limit)
    return [of(row) for row in rows], total


def add(
    tx: Connection, now: float, kind: Kind, serve: str, env: str, revision: int | None, author: str, seconds: float
) -> Operation:
    operation = Operation(
        secrets.token_hex(8), kind, serve, env, revision, "RUNNING", "", author, now, now, now + seconds
    )  # fmt: skip
    tx.execute(insert(T).values({name: getattr(operation, name) for name in Operation.__slots__}))
    return operation


def postpone(tx: Connection, now: float, operation: Operation, seconds: float) -> None:
    """Gives an operation the time that it could do nothing in."""
    values = {"deadline": operation.deadline + seconds, "updated_at": now}
    tx.execute(update(T).where(T.c.id == operation.id, T.c.state == "RUNNING").values(values))


def hold(tx: Connection, now: float, operation: Operation, until: float) -> None:
    """Has an operation wait for a second person."""
    tx.execute(update(T).where(T.c.id == operation.id).values(state="WAITING", deadline=until, updated_at=now))


def release(tx: Connection, now: float, operation: Operation, deadline: float) -> None:
    """Lets an operation that waits begin."""
    waiting = (T.c.id == operation.id) & (T.c.state == "WAITING")
    tx.execute(update(T).where(waiting).values(state="RUNNING", deadline=deadline, updated_at=now))


def set_deadline(tx: Connection, now: float, id: str, deadline: float) -> None:
    """Gives an operation that is running another deadline: that of the step it has come to."""
    running = (T.c.id == id) & (T.c.state == "RUNNING")
    tx.execute(update(T).where(running).values(deadline=deadline, updated_at=now))


def newest(tx: Connection, serve: str, env: str) -> Operation | None:
    """The change that was begun last."""
    query = select(T).where(T.c.serve == serve, T.c.env == env)
    row = tx.execute(query.order_by(T.c.created_at.desc(), T.c.revision.desc()).limit(1)).one_or_none()
    return None if row is None else of(row)


def end(tx: Connection, now: float, operation: Operation, state: State, message: str = "") -> None:
    """Ends an operation that is under way; one that has ended stays as it is."""
    under_way = (T.c.id == operation.id) & T.c.state.in_(UNDER_WAY)
    tx.execute(update(T).where(under_way).values(state=state, message=message, updated_at=now))
