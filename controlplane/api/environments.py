"""/environment: where serves run."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import DRY, JsonBody, documented
from controlplane.api.reply import ApiReply, carry_out, etag, require_match
from controlplane.changes import environments as changes
from controlplane.changes.context import ChangeContext
from controlplane.domain.environments import WRAPPER, EnvironmentConfig, NewEnvironment
from controlplane.store import environments

router = APIRouter(prefix="/environment", tags=["environments"])


@router.post(
    "", status_code=201, responses=DRY, summary="Make an environment", openapi_extra=documented(NewEnvironment, WRAPPER)
)
def create(request: Request, body: JsonBody) -> Response:
    caller_of(request).require("admin")

    def change(context: ChangeContext) -> ApiReply:
        environment = changes.create(context, body)
        place = {"location": f"/api/v1/environment/{environment.name}", "etag": etag(environment.generation)}
        return ApiReply(201, views.environment(environment), place)

    return carry_out(request, body, change)


@router.get("", summary="List environments")
def listed(request: Request) -> dict[str, Any]:
    caller = caller_of(request)
    with control_of(request).store.reading() as tx:
        rows = [row for row in environments.everything(tx) if caller.may("viewer", row.name)]
    return views.page([views.environment(row) for row in rows], len(rows), 1, max(len(rows), 1))


@router.get("/{name}", summary="Get an environment")
def get(request: Request, name: str) -> Response:
    caller_of(request).require("viewer", name)
    with control_of(request).store.reading() as tx:
        row = environments.get(tx, name)
    return JSONResponse(views.environment(row), headers={"etag": etag(row.generation)})


@router.patch("/{name}", summary="Change an environment", openapi_extra=documented(EnvironmentConfig, WRAPPER))
def patch(request: Request, name: str, body: JsonBody) -> Response:
    caller_of(request).require("admin", name)

    def change(context: ChangeContext) -> ApiReply:
        old = environments.get(context.tx, name)
        require_match(request, old.generation)
        new = changes.patch(context, old, body)
        if new.config.place != old.config.place:  # it may be that of another environment
            caller_of(request).require("admin")
        return ApiReply(200, views.environment(new), {"etag": etag(new.generation)})

    return carry_out(request, body, change)


@router.delete("/{name}", status_code=204, responses=DRY, summary="Delete an environment", openapi_extra=documented())
def delete(request: Request, name: str) -> Response:
    caller_of(request).require("admin", name)

    def change(context: ChangeContext) -> ApiReply:
        old = environments.get(context.tx, name)
        require_match(request, old.generation)
        changes.delete(context, old)
        return ApiReply(204)

    return carry_out(request, None, change)
