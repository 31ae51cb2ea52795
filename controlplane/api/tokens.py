"""/token: who may ask."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from controlplane.access import issuing
from controlplane.access.issuing import NewToken
from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import DRY, JsonBody, documented
from controlplane.api.reply import ApiReply, carry_out
from controlplane.changes.context import ChangeContext
from controlplane.domain.problems import ApiProblem
from controlplane.store import tokens

router = APIRouter(prefix="/token", tags=["tokens"])


def require_no_key(request: Request) -> None:
    """A token is shown once: no reply that holds one is kept."""
    if "idempotency-key" in request.headers:
        raise ApiProblem(
            400, "a token is shown once, so that its reply is not kept", way_out="send no Idempotency-Key"
        )  # fmt: skip


@router.post(
    "", status_code=201, responses=DRY, summary="Make a token; it is shown once", openapi_extra=documented(NewToken)
)
def create(request: Request, body: JsonBody) -> Response:
    caller_of(request).require("admin")
    require_no_key(request)
    closes = control_of(request).guard.is_open()

    def change(context: ChangeContext) -> ApiReply:
        row, text = issuing.issue(context.tx, context.now, context.actor.name, body, closes)
        context.note("token.create", after=views.token(row))
        return ApiReply(201, {**views.token(row), "token": text}, {"cache-control": "no-store"})

    return carry_out(request, body, change)


@router.get("", summary="List tokens")
def listed(request: Request) -> dict[str, Any]:
    caller_of(request).require("admin")
    with control_of(request).store.reading() as tx:
        rows = tokens.everything(tx)
    return views.page([views.token(row) for row in rows], len(rows), 1, max(len(rows), 1))


@router.post("/{name}/rotate", summary="Replace a token; the new one is shown once", openapi_extra=documented())
def rotate(request: Request, name: str) -> Response:
    caller_of(request).require("admin")
    require_no_key(request)

    def change(context: ChangeContext) -> ApiReply:
        row, text = issuing.rotate(context.tx, context.now, tokens.get(context.tx, name))
        context.note("token.rotate", after=views.token(row))
        return ApiReply(200, {**views.token(row), "token": text}, {"cache-control": "no-store"})

    return carry_out(request, None, change)


@router.delete("/{name}", status_code=204, responses=DRY, summary="Withdraw a token", openapi_extra=documented())
def delete(request: Request, name: str) -> Response:
    caller_of(request).require("admin")

    def change(context: ChangeContext) -> ApiReply:
        row = tokens.get(context.tx, name)
        tokens.remove(context.tx, name)
        context.note("token.delete", before=views.token(row))
        return ApiReply(204)

    return carry_out(request, None, change)
