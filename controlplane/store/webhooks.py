"""Webhooks in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from controlplane.domain.problems import not_found
from controlplane.domain.webhooks import WebhookConfig
from controlplane.store import tables
from controlplane.store.generations import check_generation

T = tables.webhook


@dataclass(frozen=True, slots=True)
class StoredWebhook:
    name: str
    config: WebhookConfig
    generation: int
    author: str
    created_at: float
    updated_at: float


def of(row: Row[Any]) -> StoredWebhook:
    return StoredWebhook(**{**row._mapping, "config": WebhookConfig.model_validate(row.config)})


def find(tx: Connection, name: str) -> StoredWebhook | None:
    row = tx.execute(select(T).where(T.c.name == name)).one_or_none()
    return None if row is None else of(row)


def get(tx: Connection, name: str) -> StoredWebhook:
    """Raises ApiProblem (404) if there is none."""
    webhook = find(tx, name)
    if webhook is None:
        raise not_found("webhook", name, "GET /api/v1/webhook lists those there are")
    return webhook


def everything(tx: Connection) -> list[StoredWebhook]:
    return [of(row) for row in tx.execute(select(T).order_by(T.c.name))]


def add(tx: Connection, now: float, name: str, config: WebhookConfig, author: str) -> StoredWebhook:
    values = {"name": name, "config": config.as_json(), "author": author}
    tx.execute(insert(T).values(**values, generation=1, created_at=now, updated_at=now))
    return get(tx, name)


def change(tx: Connection, now: float, old: StoredWebhook, config: WebhookConfig) -> StoredWebhook:
    """Compares and swaps the generation."""
    values = {"config": config.as_json(), "generation": old.generation + 1, "updated_at": now}
    check_generation(tx.execute(update(T).where(T.c.name == old.name, T.c.generation == old.generation).values(values)))
    return get(tx, old.name)


def remove(tx: Connection, old: StoredWebhook) -> None:
    """Removes a webhook with what it has not got yet."""
    tx.execute(delete(tables.delivery).where(tables.delivery.c.webhook == old.name))
    check_generation(tx.execute(delete(T).where(T.c.name == old.name, T.c.generation == old.generation)))
