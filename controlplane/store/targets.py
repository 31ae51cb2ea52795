"""Targets: a serve in an environment, with the revision that is wanted, the one that serves, and all before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update

from controlplane.domain.overlays import merged
from controlplane.domain.problems import not_found
from controlplane.domain.revisions import Content
from controlplane.store import tables
from controlplane.store.database import writes
from controlplane.store.generations import check_generation
from controlplane.store.paging import one_page

T, R, D = tables.target, tables.revision, tables.deployment
DeploymentStatus = Literal["PENDING", "ACTIVE", "ENDED", "FAILED", "ABORTED"]
STATUSES = ("PENDING", "ACTIVE", "ENDED", "FAILED", "ABORTED")


@dataclass(frozen=True, slots=True)
class ServeTarget:
    serve: str
    env: str
    wanted: int | None
    """The revision that should serve; None where nothing should."""
    active: int | None
    """The last revision that was seen to serve, and still should until the wanted one does."""
    last_revision: int
    operation: str | None
    """The change under way."""
    generation: int
    last_error: str | None
    last_error_at: float | None
    updated_at: float


@dataclass(frozen=True, slots=True)
class Revision:
    serve: str
    env: str
    number: int
    content: Content
    sha256: str
    restores: int | None
    """The revision whose content it has, if it rolls back."""
    author: str
    reason: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Deployment:
    serve: str
    env: str
    revision: int
    artifact_version: str
    operation: str
    status: DeploymentStatus
    message: str
    created_at: float
    updated_at: float


def find(tx: Connection, serve: str, env: str) -> ServeTarget | None:
    """The target; a transaction that writes keeps others from changing it meanwhile."""
    query = select(T).where(T.c.serve == serve, T.c.env == env)
    row = tx.execute(query.with_for_update() if writes(tx) else query).one_or_none()
    return None if row is None else ServeTarget(**row._mapping)


def ensured(tx: Connection, now: float, serve: str, env: str) -> ServeTarget:
    """The target, made if it is new."""
    known = find(tx, serve, env)
    if known is not None:
        return known
    new = ServeTarget(serve, env, None, None, 0, None, 1, None, None, now)
    tx.execute(insert(T).values({name: getattr(new, name) for name in ServeTarget.__slots__}))
    return new


def everything(tx: Connection) -> list[ServeTarget]:
    return [ServeTarget(**row._mapping) for row in tx.execute(select(T).order_by(T.c.env, T.c.serve))]


def of_serve(tx: Connection, serve: str) -> list[ServeTarget]:
    return [ServeTarget(**row._mapping) for row in tx.execute(select(T).where(T.c.serve == serve).order_by(T.c.env))]


def places_of(tx: Connection, serves: Sequence[str]) -> dict[str, list[str]]:
    """The environments that each of some serves is wanted in, by one query."""
    places: dict[str, list[str]] = {serve: [] for serve in serves}
    query = select(T.c.serve, T.c.env).where(T.c.serve.in_(serves), T.c.wanted.is_not(None))
    for serve, env in tx.execute(query.order_by(T.c.env)):
        places[serve].append(env)
    return places


def wanted_overlays(tx: Connection, env: str) -> dict[str, dict[str, Any]]:
    """What each serve of an environment should have over the defaults of the spec, by one query.

    As it was stored, and not checked again: there may be a thousand, and each deployment asks.
    """
    same = (R.c.serve == T.c.serve) & (R.c.env == T.c.env) & (R.c.number == T.c.wanted)
    query = select(R.c.serve, R.c.content).join(T, same).where(T.c.env == env)
    return {
        serve: merged(content["environment"].get("spec", {}), content["infra"]) for serve, content in tx.execute(query)
    }


def in_environment(tx: Connection, env: str) -> list[ServeTarget]:
    return [ServeTarget(**row._mapping) for row in tx.execute(select(T).where(T.c.env == env).order_by(T.c.serve))]


def change(tx: Connection, now: float, old: ServeTarget, **values: Any) -> ServeTarget:
    """Compares and swaps the generation."""
    new = {**values, "generation": old.generation + 1, "updated_at": now}
    same = (T.c.serve == old.serve) & (T.c.env == old.env) & (T.c.generation == old.generation)
    check_generation(tx.execute(update(T).where(same).values(new)))
    row = tx.execute(select(T).where(T.c.serve == old.serve, T.c.env == old.env)).one()
    return ServeTarget(**row._mapping)


def add_revision(
    tx: Connection, now: float, target: ServeTarget, content: Content, author: str, reason: str, restores: int | None
) -> Revision:
    """The next revision of a target. There is no function that changes one."""
    number = target.last_revision + 1
    revision = Revision(target.serve, target.env, number, content, content.sha256, restores, author, reason, now)
    row = {name: getattr(revision, name) for name in Revision.__slots__} | {"content": content.as_json()}
    tx.execute(insert(R).values(row))
    return revision


def revision_of(row: Row[Any]) -> Revision:
    return Revision(**{**row._mapping, "content": Content.model_validate(row.content)})


def revision(tx: Connection, serve: str, env: str, number: int) -> Revision:
    """Raises ApiProblem (404) if there is none."""
    row = tx.execute(select(R).where(R.c.serve == serve, R.c.env == env, R.c.number == number)).one_or_none()
    if row is None:
        way_out = f"GET /api/v1/serve/{serve}/revisions?env={env} lists those there are"
        raise not_found("revision", f"{number} of {serve} in {env}", way_out)
    return revision_of(row)


def revisions(tx: Connection, serve: str, env: str | None, page: int, limit: int) -> tuple[list[Revision], int]:
    """One page, the newest first, and how many there are."""
    query = select(R).where(R.c.serve == serve)
    if env:
        query = query.where(R.c.env == env)
    rows, total = one_page(tx, query.order_by(R.c.created_at.desc(), R.c.env, R.c.number.desc()), page, limit)
    return [revision_of(row) for row in rows], total


def add_deployment(tx: Connection, now: float, revision: Revision, operation: str) -> None:
    tx.execute(
        insert(D).values(
            serve=revision.serve, env=revision.env, revision=revision.number, operation=operation, status="PENDING",
            artifact_version=revision.content.artifact_version, message="", created_at=now, updated_at=now,
        )
    )  # fmt: skip


def set_deployment(
    tx: Connection,
    now: float,
    target: ServeTarget,
    number: int,
    status: DeploymentStatus,
    message: str = "",
    operation: str | None = None,
) -> None:
    """`operation` is the change that the deployment belongs to from now on."""
    same = (D.c.serve == target.serve) & (D.c.env == target.env) & (D.c.revision == number)
    values = {"status": status, "message": message, "updated_at": now}
    tx.execute(update(D).where(same).values(values if operation is None else {**values, "operation": operation}))


def ended_last(tx: Connection, serve: str, env: str) -> int | None:
    """The revision that was active before the one that is."""
    query = select(D.c.revision).where(D.c.serve == serve, D.c.env == env, D.c.status == "ENDED")
    return tx.execute(query.order_by(D.c.updated_at.desc(), D.c.revision.desc()).limit(1)).scalar_one_or_none()


def has_served(tx: Connection, serve: str, env: str, number: int) -> bool:
    """Whether a revision was active once."""
    query = select(D.c.status).where(D.c.serve == serve, D.c.env == env, D.c.revision == number)
    return tx.execute(query).scalar_one_or_none() in ("ACTIVE", "ENDED")


def deployments(
    tx: Connection, serve: str, env: str | None, status: str | None, page: int, limit: int
) -> tuple[list[Deployment], int]:
    """One page, the newest first, and how many there are."""
    query = select(D).where(D.c.serve == serve)
    if env:
        query = query.where(D.c.env == env)
    if status:
        query = query.where(D.c.status == status)
    rows, total = one_page(tx, query.order_by(D.c.created_at.desc(), D.c.env, D.c.revision.desc()), page, limit)
    return [Deployment(**row._mapping) for row in rows], total
