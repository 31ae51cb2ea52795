"""Audit events: who did what, from where, and what it was before and after. They are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from controlplane.domain.times import iso
from controlplane.store import deliveries, tables


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever causes a change, and from where."""

    name: str
    source: str


def add(
    tx: Connection,
    now: float,
    actor: Actor,
    action: str,
    *,
    serve: str | None = None,
    env: str | None = None,
    operation: str | None = None,
    before: Any = None,
    after: Any = None,
    message: str = "",
) -> None:
    added = tx.execute(
        insert(tables.event).values(
            at=now, actor=actor.name, source=actor.source, action=action, serve=serve, env=env, operation=operation,
            before=before, after=after, message=message,
        )
    )  # fmt: skip
    id = added.inserted_primary_key[0]  # type: ignore[index]  # every insert of one row has it
    deliveries.queue(tx, now, id, action, serve, env)


def listed(
    tx: Connection, *, serve: str | None = None, env: str | None = None, after: int = 0, limit: int = 100
) -> list[Row[Any]]:
    """Events after an id, the oldest first."""
    query = select(tables.event).where(tables.event.c.id > after).order_by(tables.event.c.id).limit(limit)
    if serve:
        query = query.where(tables.event.c.serve == serve)
    if env:
        query = query.where(tables.event.c.env == env)
    return list(tx.execute(query))


def newest_id(tx: Connection) -> int:
    """0 if there is no event."""
    return tx.execute(select(func.max(tables.event.c.id))).scalar_one() or 0


def get(tx: Connection, id: int) -> Row[Any]:
    return tx.execute(select(tables.event).where(tables.event.c.id == id)).one()


def as_json(row: Row[Any]) -> dict[str, Any]:
    """An event as everybody sees it."""
    return {**row._mapping, "at": iso(row.at)}
