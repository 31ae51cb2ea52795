"""Audit events: who did what, from where, and what it was before and after. They are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select

from controlplane.domain.times import iso
from controlplane.store import deliveries, tables

T = tables.event


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
        insert(T).values(
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
    query = filtered(serve, env).where(T.c.id > after).order_by(T.c.id).limit(limit)
    return list(tx.execute(query))


def newest(
    tx: Connection, *, serve: str | None = None, env: str | None = None, before: int, limit: int = 100
) -> list[Row[Any]]:
    """Events before an id, the newest first."""
    query = filtered(serve, env).where(T.c.id < before).order_by(T.c.id.desc()).limit(limit)
    return list(tx.execute(query))


def filtered(serve: str | None, env: str | None) -> Select[Any]:
    query = select(T)
    if serve:
        query = query.where(T.c.serve == serve)
    return query.where(T.c.env == env) if env else query


def newest_id(tx: Connection) -> int:
    """0 if there is no event."""
    return tx.execute(select(func.max(T.c.id))).scalar_one() or 0


def get(tx: Connection, id: int) -> Row[Any]:
    return tx.execute(select(T).where(T.c.id == id)).one()


def as_json(row: Row[Any]) -> dict[str, Any]:
    """An event as everybody sees it."""
    return {**row._mapping, "at": iso(row.at)}
