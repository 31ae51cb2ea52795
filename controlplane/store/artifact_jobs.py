"""Jobs that fetch artifacts, in the store."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update

from controlplane.domain.problems import not_found
from controlplane.store import tables
from controlplane.store.paging import one_page

T = tables.artifact_job
JobState = Literal["PENDING", "RUNNING", "SUCCESSFUL", "FAILED"]


@dataclass(frozen=True, slots=True)
class ArtifactJob:
    id: str
    serve: str
    version: str
    source: dict[str, Any]
    state: JobState
    message: str
    revision: str
    """The commit, once it is known."""
    author: str
    created_at: float
    updated_at: float


def of(row: Row[Any]) -> ArtifactJob:
    return ArtifactJob(**row._mapping)


def get(tx: Connection, id: str) -> ArtifactJob:
    """Raises ApiProblem (404) if there is none."""
    row = tx.execute(select(T).where(T.c.id == id)).one_or_none()
    if row is None:
        raise not_found("job", id, "GET /api/v1/artifact_builder_job lists those there are")
    return of(row)


def of_version(tx: Connection, serve: str, version: str) -> ArtifactJob | None:
    """The last job for a version."""
    query = select(T).where(T.c.serve == serve, T.c.version == version).order_by(T.c.created_at.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else of(row)


def listed(tx: Connection, state: str | None, page: int, limit: int) -> tuple[list[ArtifactJob], int]:
    """One page, the newest first, and how many there are."""
    query = select(T) if state is None else select(T).where(T.c.state == state)
    rows, total = one_page(tx, query.order_by(T.c.created_at.desc(), T.c.id), page, limit)
    return [of(row) for row in rows], total


def unfinished(tx: Connection) -> list[ArtifactJob]:
    """Those that wait, and those that a control plane was at work on when it ended; the oldest first."""
    query = select(T).where(T.c.state.in_(("PENDING", "RUNNING"))).order_by(T.c.created_at)
    return [of(row) for row in tx.execute(query)]


def add(tx: Connection, now: float, serve: str, version: str, source: dict[str, Any], author: str) -> ArtifactJob:
    job = ArtifactJob(secrets.token_hex(8), serve, version, source, "PENDING", "", "", author, now, now)
    tx.execute(insert(T).values({name: getattr(job, name) for name in ArtifactJob.__slots__}))
    return job


def note(tx: Connection, now: float, job: ArtifactJob, state: JobState, message: str = "", revision: str = "") -> None:
    values = {"state": state, "message": message, "revision": revision, "updated_at": now}
    tx.execute(update(T).where(T.c.id == job.id).values(values))
