"""Serves and their infrastructure in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from controlplane.domain.problems import not_found
from controlplane.domain.serves import NewServe
from controlplane.store import rollouts, tables
from controlplane.store.generations import check_generation
from controlplane.store.paging import one_page

T, I = tables.serve, tables.infra_config  # noqa: E741


@dataclass(frozen=True, slots=True)
class Serve:
    name: str
    type: str
    description: str
    space: str
    generation: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Infra:
    """The infrastructure of a serve in an environment, as an overlay in the words of the spec."""

    serve: str
    env: str
    overlay: dict[str, Any]
    generation: int
    updated_at: float


def of(row: Row[Any]) -> Serve:
    return Serve(**row._mapping)


def find(tx: Connection, name: str) -> Serve | None:
    row = tx.execute(select(T).where(T.c.name == name)).one_or_none()
    return None if row is None else of(row)


def get(tx: Connection, name: str) -> Serve:
    """Raises ApiProblem (404) if there is none."""
    serve = find(tx, name)
    if serve is None:
        raise not_found(
            "serve", name, "POST /api/v1/serve makes one, and POST /api/v1/serve/deploy-model deploys at once"
        )
    return serve


def listed(tx: Connection, page: int, limit: int, space: str | None, contains: str | None) -> tuple[list[Serve], int]:
    """One page, and how many there are."""
    query = select(T)
    if space:
        query = query.where(T.c.space == space)
    if contains:
        query = query.where(T.c.name.contains(contains, autoescape=True))
    rows, total = one_page(tx, query.order_by(T.c.name), page, limit)
    return [of(row) for row in rows], total


def everything(tx: Connection) -> list[Serve]:
    return [of(row) for row in tx.execute(select(T).order_by(T.c.name))]


def add(tx: Connection, now: float, said: NewServe) -> Serve:
    tx.execute(insert(T).values(**said.model_dump(), generation=1, created_at=now, updated_at=now))
    return get(tx, said.name)


def change(tx: Connection, now: float, old: Serve, values: Mapping[str, Any]) -> Serve:
    """Compares and swaps the generation."""
    new = {**values, "generation": old.generation + 1, "updated_at": now}
    check_generation(tx.execute(update(T).where(T.c.name == old.name, T.c.generation == old.generation).values(new)))
    return get(tx, old.name)


def remove(tx: Connection, old: Serve) -> None:
    """Removes a serve with everything that was said of it; events stay."""
    rollouts.remove(tx, old.name)
    of_target = (tables.followed, tables.deployment, tables.revision, tables.target)
    for table in (*of_target, tables.artifact, tables.artifact_job, I):
        tx.execute(delete(table).where(table.c.serve == old.name))
    check_generation(tx.execute(delete(T).where(T.c.name == old.name, T.c.generation == old.generation)))


def infra(tx: Connection, serve: str, env: str) -> Infra | None:
    row = tx.execute(select(I).where(I.c.serve == serve, I.c.env == env)).one_or_none()
    return None if row is None else Infra(row.serve, row.env, row.overlay, row.generation, row.updated_at)


def set_infra(tx: Connection, now: float, serve: str, env: str, overlay: dict[str, Any], old: Infra | None) -> Infra:
    """Makes or replaces the infrastructure; compares and swaps the generation."""
    if old is None:
        tx.execute(insert(I).values(serve=serve, env=env, overlay=overlay, generation=1, updated_at=now))
        return Infra(serve, env, overlay, 1, now)
    values = {"overlay": overlay, "generation": old.generation + 1, "updated_at": now}
    same = (I.c.serve == serve) & (I.c.env == env) & (I.c.generation == old.generation)
    check_generation(tx.execute(update(I).where(same).values(values)))
    return Infra(serve, env, overlay, old.generation + 1, now)


def configured_in(tx: Connection, env: str) -> list[str]:
    """The serves that have an infrastructure in an environment."""
    return list(tx.execute(select(I.c.serve).where(I.c.env == env).order_by(I.c.serve)).scalars())
