"""Tokens in the store, as digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from controlplane.domain.problems import not_found
from controlplane.store import tables

T = tables.token


@dataclass(frozen=True, slots=True)
class StoredToken:
    name: str
    sha256: str
    roles: dict[str, str]
    """A role by the name of an environment; `*` stands for all."""
    author: str
    created_at: float
    expires_at: float


def everything(tx: Connection) -> list[StoredToken]:
    return [StoredToken(**row._mapping) for row in tx.execute(select(T).order_by(T.c.name))]


def find(tx: Connection, name: str) -> StoredToken | None:
    row = tx.execute(select(T).where(T.c.name == name)).one_or_none()
    return None if row is None else StoredToken(**row._mapping)


def get(tx: Connection, name: str) -> StoredToken:
    """Raises ApiProblem (404) if there is none."""
    token = find(tx, name)
    if token is None:
        raise not_found("token", name, "GET /api/v1/token lists those there are")
    return token


def by_digest(tx: Connection, sha256: str) -> StoredToken | None:
    row = tx.execute(select(T).where(T.c.sha256 == sha256)).one_or_none()
    return None if row is None else StoredToken(**row._mapping)


def add(
    tx: Connection, now: float, name: str, sha256: str, roles: Mapping[str, str], author: str, expires_at: float
) -> StoredToken:
    token = StoredToken(name, sha256, dict(roles), author, now, expires_at)
    tx.execute(insert(T).values({field: getattr(token, field) for field in StoredToken.__slots__}))
    return token


def replace_digest(tx: Connection, name: str, sha256: str, expires_at: float) -> None:
    tx.execute(update(T).where(T.c.name == name).values(sha256=sha256, expires_at=expires_at))


def remove(tx: Connection, name: str) -> None:
    tx.execute(delete(T).where(T.c.name == name))
