"""Changes of webhooks."""

from __future__ import annotations

from typing import Any

from controlplane.changes.context import ChangeContext
from controlplane.domain.bodies import read
from controlplane.domain.problems import ApiProblem, conflict, wrong_field
from controlplane.domain.webhooks import NewWebhook
from controlplane.store import deliveries, webhooks
from controlplane.store.deliveries import Delivery
from controlplane.store.webhooks import StoredWebhook


def create(context: ChangeContext, body: Any) -> StoredWebhook:
    said = read(body, NewWebhook)
    if webhooks.find(context.tx, said.name) is not None:
        raise conflict(f"there is a webhook '{said.name}' already", "PATCH changes it; choose another name")
    webhook = webhooks.add(context.tx, context.now, said.name, said.config(), context.actor.name)
    context.note("webhook.create", after={"name": webhook.name, **webhook.config.for_audit()})
    return webhook


def patch(context: ChangeContext, old: StoredWebhook, body: Any) -> StoredWebhook:
    """Changes what the body names; null sets a field back."""
    if not isinstance(body, dict):
        raise ApiProblem(422, "the body is not a JSON object", way_out="send an object with the fields to change")
    if body.get("name", old.name) != old.name:
        raise wrong_field("name", "cannot be changed", old.name)
    fields = {**old.config.as_json(), **body, "name": old.name}
    said = read({name: value for name, value in fields.items() if value is not None}, NewWebhook)
    webhook = webhooks.change(context.tx, context.now, old, said.config())
    before, after = ({"name": each.name, **each.config.for_audit()} for each in (old, webhook))
    context.note("webhook.change", before=before, after=after)
    return webhook


def delete(context: ChangeContext, old: StoredWebhook) -> None:
    webhooks.remove(context.tx, old)
    context.note("webhook.delete", before={"name": old.name, **old.config.for_audit()})


def repeat(context: ChangeContext, webhook: StoredWebhook, id: int) -> Delivery:
    """Delivers once more what was given up."""
    delivery = deliveries.get(context.tx, webhook.name, id)
    if delivery.state != "GIVEN_UP":
        raise conflict(f"delivery {id} is {delivery.state}", "only one that was given up can be repeated")
    deliveries.repeat(context.tx, context.now, delivery)
    context.note("webhook.repeat", after={"webhook": webhook.name, "delivery": id, "event": delivery.event})
    return deliveries.get(context.tx, webhook.name, id)
