"""Audit events: who did what, from where, and what it was before and after. They are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select

from controlplane.store import tables

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
    tx.execute(
        insert(T).values(
            at=now, actor=actor.name, source=actor.source, action=action, serve=serve, env=env, operation=operation,
            before=before, after=after, message=message,
        )
    )  # fmt: skip


def listed(
    tx: Connection, *, serve: str | None = None, env: str | None = None, after: int = 0, limit: int = 100
) -> list[Row[Any]]:
    """Events after an id, the oldest first."""
    query = filtered(serve, env).where(T.c.id > after).order_by(T.c.id).limit(limit)
    return list(tx.execute(query))


def newest(
    tx: Connection, *, serve: str | None = None, env: str | None = None, before: int | None = None, limit: int = 100
) -> list[Row[Any]]:
    """Events before an id, the newest first."""
    query = filtered(serve, env).order_by(T.c.id.desc()).limit(limit)
    return list(tx.execute(query if before is None else query.where(T.c.id < before)))


def filtered(serve: str | None, env: str | None) -> Select[Any]:
    query = select(T)
    if serve:
        query = query.where(T.c.serve == serve)
    return query.where(T.c.env == env) if env else query
