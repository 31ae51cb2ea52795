"""/webhook: where events are posted to, and what has come of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Connection

from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import DRY, MAX_ID, JsonBody, Limit, PageNumber, documented
from controlplane.api.reply import ApiReply, carry_out, etag, require_match
from controlplane.changes import webhooks as changes
from controlplane.changes.context import ChangeContext
from controlplane.domain.webhooks import NewWebhook, WebhookConfig
from controlplane.store import deliveries, webhooks
from controlplane.store.webhooks import StoredWebhook

router = APIRouter(prefix="/webhook", tags=["webhooks"])

State = Annotated[deliveries.DeliveryState | None, Query(description="only with this state")]


@router.post("", status_code=201, responses=DRY, summary="Make a webhook", openapi_extra=documented(NewWebhook))
def create(request: Request, body: JsonBody) -> Response:
    caller_of(request).require("admin")

    def change(context: ChangeContext) -> ApiReply:
        webhook = changes.create(context, body)
        place = {"location": f"/api/v1/webhook/{webhook.name}", "etag": etag(webhook.generation)}
        return ApiReply(201, shown(context.tx, webhook), place)

    return carry_out(request, body, change)


@router.get("", summary="List webhooks")
def listed(request: Request) -> dict[str, Any]:
    caller_of(request).require("admin")
    with control_of(request).store.reading() as tx:
        items = [shown(tx, row) for row in webhooks.everything(tx)]
    return views.page(items, len(items), 1, max(len(items), 1))


@router.get("/{name}", summary="Get a webhook, and what it has not got yet")
def get(request: Request, name: str) -> Response:
    caller_of(request).require("admin")
    with control_of(request).store.reading() as tx:
        row = webhooks.get(tx, name)
        body = shown(tx, row)
    return JSONResponse(body, headers={"etag": etag(row.generation)})


@router.patch("/{name}", summary="Change a webhook", openapi_extra=documented(WebhookConfig))
def patch(request: Request, name: str, body: JsonBody) -> Response:
    caller_of(request).require("admin")

    def change(context: ChangeContext) -> ApiReply:
        old = webhooks.get(context.tx, name)
        require_match(request, old.generation)
        new = changes.patch(context, old, body)
        return ApiReply(200, shown(context.tx, new), {"etag": etag(new.generation)})

    return carry_out(request, body, change)


@router.delete("/{name}", status_code=204, responses=DRY, summary="Delete a webhook", openapi_extra=documented())
def delete(request: Request, name: str) -> Response:
    caller_of(request).require("admin")

    def change(context: ChangeContext) -> ApiReply:
        old = webhooks.get(context.tx, name)
        require_match(request, old.generation)
        changes.delete(context, old)
        return ApiReply(204)

    return carry_out(request, None, change)


@router.get("/{name}/delivery", summary="Deliveries, the newest first; those that have ended, for a week")
def deliveries_of(
    request: Request, name: str, state: State = None, page: PageNumber = 1, limit: Limit = 50
) -> dict[str, Any]:
    caller_of(request).require("admin")
    with control_of(request).store.reading() as tx:
        webhooks.get(tx, name)
        rows, total = deliveries.listed(tx, name, state, page, limit)
    return views.page([views.delivery(row) for row in rows], total, page, limit)


@router.post(
    "/{name}/delivery/{id}/repeat",
    responses=DRY,
    summary="Deliver once more what was given up",
    openapi_extra=documented(),
)
def repeat(request: Request, name: str, id: Annotated[int, Path(ge=1, le=MAX_ID)]) -> Response:
    caller_of(request).require("admin")

    def change(context: ChangeContext) -> ApiReply:
        webhook = webhooks.get(context.tx, name)
        return ApiReply(200, views.delivery(changes.repeat(context, webhook, id)))

    return carry_out(request, None, change)


def shown(tx: Connection, row: StoredWebhook) -> dict[str, Any]:
    return views.webhook(row, deliveries.backlog(tx, row.name))
