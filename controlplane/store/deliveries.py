"""The outbox: which event a webhook has still to get. It is written in the transaction of the event itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from controlplane.domain.notifications import subject_of
from controlplane.domain.problems import not_found
from controlplane.store import tables, webhooks
from controlplane.store.paging import one_page

T = tables.delivery
DeliveryState = Literal["PENDING", "DELIVERED", "GIVEN_UP"]
KEPT_SECONDS = 7 * 86400.0
"""How long deliveries that have ended are shown."""


@dataclass(frozen=True, slots=True)
class Delivery:
    id: int
    webhook: str
    event: int
    subject: str
    state: DeliveryState
    attempts: int
    due_at: float
    """When it is tried next, unless an earlier one of its subject is still pending."""
    message: str
    """What came of the last attempt."""
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class DeliveryBacklog:
    """What a webhook has not got."""

    pending: int
    given_up: int
    oldest_at: float | None
    """Since when the oldest one is pending."""
    last_error: str | None
    """Of a delivery that is pending."""


def queue(tx: Connection, now: float, event: int, action: str, serve: str | None, env: str | None) -> None:
    """One delivery for each webhook that wants the event."""
    wanting = [each.name for each in webhooks.everything(tx) if each.config.wants(action, serve, env)]
    if not wanting:
        return
    row = {
        "event": event, "subject": subject_of({"serve": serve, "env": env}), "state": "PENDING", "attempts": 0,
        "due_at": now, "message": "", "created_at": now, "updated_at": now,
    }  # fmt: skip
    tx.execute(insert(T), [{"webhook": name, **row} for name in wanting])


def due_webhooks(tx: Connection, now: float) -> list[str]:
    """The webhooks that something can be delivered to."""
    query = select(T.c.webhook).where(T.c.state == "PENDING", T.c.due_at <= now).distinct()
    return list(tx.execute(query).scalars())


def next_due(tx: Connection, webhook: str, now: float) -> Delivery | None:
    """The oldest delivery that is due and the first of its subject."""
    pending = (T.c.webhook == webhook) & (T.c.state == "PENDING")
    first = select(func.min(T.c.id)).where(pending).group_by(T.c.subject)
    query = select(T).where(T.c.id.in_(first), T.c.due_at <= now).order_by(T.c.id).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else Delivery(**row._mapping)


def note(tx: Connection, now: float, delivery: Delivery, state: DeliveryState, message: str, due_at: float) -> None:
    """What came of an attempt."""
    values = {
        "state": state, "attempts": delivery.attempts + 1, "message": message, "due_at": due_at, "updated_at": now
    }  # fmt: skip
    tx.execute(update(T).where(T.c.id == delivery.id).values(values))


def postpone(tx: Connection, webhook: str, until: float) -> None:
    """Nothing is delivered to a webhook before a time."""
    pending = (T.c.webhook == webhook) & (T.c.state == "PENDING") & (T.c.due_at < until)
    tx.execute(update(T).where(pending).values(due_at=until))


def repeat(tx: Connection, now: float, delivery: Delivery) -> None:
    """Tries again what was given up, from anew."""
    values = {"state": "PENDING", "attempts": 0, "due_at": now, "created_at": now, "updated_at": now}
    tx.execute(update(T).where(T.c.id == delivery.id, T.c.state == "GIVEN_UP").values(values))


def forget(tx: Connection, now: float) -> None:
    """Removes those that have ended long ago; events stay."""
    tx.execute(delete(T).where(T.c.state != "PENDING", T.c.updated_at < now - KEPT_SECONDS))


def get(tx: Connection, webhook: str, id: int) -> Delivery:
    """Raises ApiProblem (404) if there is none."""
    row = tx.execute(select(T).where(T.c.webhook == webhook, T.c.id == id)).one_or_none()
    if row is None:
        raise not_found("delivery", str(id), f"GET /api/v1/webhook/{webhook}/delivery lists those there are")
    return Delivery(**row._mapping)


def listed(tx: Connection, webhook: str, state: str | None, page: int, limit: int) -> tuple[list[Delivery], int]:
    """One page, the newest first, and how many there are."""
    query = select(T).where(T.c.webhook == webhook)
    if state:
        query = query.where(T.c.state == state)
    rows, total = one_page(tx, query.order_by(T.c.id.desc()), page, limit)
    return [Delivery(**row._mapping) for row in rows], total


def backlog(tx: Connection, webhook: str) -> DeliveryBacklog:
    pending = (T.c.webhook == webhook) & (T.c.state == "PENDING")
    count, oldest = tx.execute(select(func.count(), func.min(T.c.created_at)).where(pending)).one()
    given_up = select(func.count()).where(T.c.webhook == webhook, T.c.state == "GIVEN_UP")
    failed = select(T.c.message).where(pending, T.c.attempts > 0).order_by(T.c.updated_at.desc()).limit(1)
    return DeliveryBacklog(count, tx.execute(given_up).scalar_one(), oldest, tx.execute(failed).scalar_one_or_none())
