"""Environments in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.problems import not_found
from controlplane.store import tables
from controlplane.store.generations import check_generation

T = tables.environment


@dataclass(frozen=True, slots=True)
class Environment:
    name: str
    config: EnvironmentConfig
    generation: int
    created_at: float
    updated_at: float


def of(row: Row[Any]) -> Environment:
    config = EnvironmentConfig.model_validate(row.config)
    return Environment(row.name, config, row.generation, row.created_at, row.updated_at)


def find(tx: Connection, name: str) -> Environment | None:
    row = tx.execute(select(T).where(T.c.name == name)).one_or_none()
    return None if row is None else of(row)


def get(tx: Connection, name: str) -> Environment:
    """Raises ApiProblem (404) if there is none."""
    environment = find(tx, name)
    if environment is None:
        names = ", ".join(each.name for each in everything(tx)) or "none"
        raise not_found("environment", name, f"POST /api/v1/environment makes one; there is: {names}")
    return environment


def everything(tx: Connection) -> list[Environment]:
    return [of(row) for row in tx.execute(select(T).order_by(T.c.name))]


def add(tx: Connection, now: float, name: str, config: EnvironmentConfig) -> Environment:
    values = {"name": name, "config": stored(config), "generation": 1, "created_at": now, "updated_at": now}
    tx.execute(insert(T).values(values))
    return get(tx, name)


def change(tx: Connection, now: float, old: Environment, config: EnvironmentConfig) -> Environment:
    """Compares and swaps the generation."""
    values = {"config": stored(config), "generation": old.generation + 1, "updated_at": now}
    check_generation(tx.execute(update(T).where(T.c.name == old.name, T.c.generation == old.generation).values(values)))
    return get(tx, old.name)


def remove(tx: Connection, old: Environment) -> None:
    check_generation(tx.execute(delete(T).where(T.c.name == old.name, T.c.generation == old.generation)))


def stored(config: EnvironmentConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_defaults=True)
