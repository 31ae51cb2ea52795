"""Replies that are kept, so that a request that is repeated with its Idempotency-Key changes nothing twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from controlplane.store import tables

T = tables.idempotency
KEPT_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class KeptReply:
    request_sha256: str
    status: int
    headers: dict[str, str]
    body: Any


def find(tx: Connection, actor: str, key: str, now: float) -> KeptReply | None:
    columns = (T.c.request_sha256, T.c.status, T.c.headers, T.c.body)
    query = select(*columns).where(T.c.actor == actor, T.c.key == key, T.c.created_at > now - KEPT_SECONDS)
    row = tx.execute(query).one_or_none()
    return None if row is None else KeptReply(*row)


def keep(tx: Connection, actor: str, key: str, now: float, reply: KeptReply) -> None:
    """Keeps a reply for a day, and forgets those that are older."""
    tx.execute(delete(T).where(T.c.created_at <= now - KEPT_SECONDS))
    values = {name: getattr(reply, name) for name in KeptReply.__slots__}
    tx.execute(insert(T).values(actor=actor, key=key, created_at=now, **values))
