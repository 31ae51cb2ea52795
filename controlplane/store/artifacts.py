"""Artifacts in the store: a version is written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from controlplane.domain.problems import not_found
from controlplane.store import tables
from controlplane.store.paging import one_page

T = tables.artifact


@dataclass(frozen=True, slots=True)
class Artifact:
    serve: str
    version: str
    model_uri: str
    author: str
    created_at: float


def of(row: Row[Any]) -> Artifact:
    return Artifact(**row._mapping)


def find(tx: Connection, serve: str, version: str) -> Artifact | None:
    row = tx.execute(select(T).where(T.c.serve == serve, T.c.version == version)).one_or_none()
    return None if row is None else of(row)


def get(tx: Connection, serve: str, version: str) -> Artifact:
    """Raises ApiProblem (404) if there is none."""
    artifact = find(tx, serve, version)
    if artifact is None:
        raise not_found("artifact", f"{serve} {version}", "POST /api/v1/artifact makes one")
    return artifact


def listed(tx: Connection, serve: str, page: int, limit: int) -> tuple[list[Artifact], int]:
    """One page, the newest first, and how many there are."""
    query = select(T).where(T.c.serve == serve)
    rows, total = one_page(tx, query.order_by(T.c.created_at.desc(), T.c.version.desc()), page, limit)
    return [of(row) for row in rows], total


def add(tx: Connection, now: float, serve: str, version: str, model_uri: str, author: str) -> Artifact:
    artifact = Artifact(serve, version, model_uri, author, now)
    values = {"serve": serve, "version": version, "model_uri": model_uri, "author": author, "created_at": now}
    tx.execute(insert(T).values(values))
    return artifact


def newest(tx: Connection, serve: str) -> Artifact | None:
    return next(iter(listed(tx, serve, 1, 1)[0]), None)


def next_version(tx: Connection, serve: str) -> str:
    """The first of v1, v2, … above all that were given."""
    versions = tx.execute(select(T.c.version).where(T.c.serve == serve)).scalars()
    numbers = [int(version[1:]) for version in versions if version[0] == "v" and version[1:].isdigit()]
    return f"v{max(numbers, default=0) + 1}"
