"""/serve: what is deployed under one name, and its infrastructure in each environment."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import DRY, STARTED, JsonBody, Limit, PageNumber, documented
from controlplane.api.reply import ApiReply, carry_out, etag, require_match
from controlplane.changes import deploy
from controlplane.changes import serves as changes
from controlplane.changes.context import ChangeContext
from controlplane.domain.infra import WRAPPERS, InfraConfig
from controlplane.domain.problems import conflict, not_found
from controlplane.domain.serves import NewServe, ServeChange
from controlplane.store import environments, serves, targets

router = APIRouter(prefix="/serve", tags=["serves"])


@router.post("", status_code=201, responses=DRY, summary="Make a serve", openapi_extra=documented(NewServe))
def create(request: Request, body: JsonBody) -> Response:
    caller_of(request).require_somewhere("deployer")

    def change(context: ChangeContext) -> ApiReply:
        serve = changes.create(context, body)
        place = {"location": f"/api/v1/serve/{serve.name}", "etag": etag(serve.generation)}
        return ApiReply(201, views.serve(serve, ()), place)

    return carry_out(request, body, change)


@router.get("", summary="List serves")
def listed(
    request: Request,
    page: PageNumber = 1,
    limit: Limit = 50,
    space: Annotated[str | None, Query(max_length=1000)] = None,
    name: Annotated[str | None, Query(max_length=50, description="a part of the name")] = None,
) -> dict[str, Any]:
    caller_of(request).require_somewhere("viewer")
    with control_of(request).store.listing() as tx:
        rows, total = serves.listed(tx, page, limit, space, name)
        places = targets.places_of(tx, [row.name for row in rows])
    items = [views.serve(row, places[row.name]) for row in rows]
    return views.page(items, total, page, limit)


@router.get("/{name}", summary="Get a serve")
def get(request: Request, name: str) -> Response:
    caller_of(request).require_somewhere("viewer")
    with control_of(request).store.reading() as tx:
        row = serves.get(tx, name)
        body = views.serve(row, targets.places_of(tx, [name])[name])
    return JSONResponse(body, headers={"etag": etag(row.generation)})


@router.patch("/{name}", summary="Change a serve", openapi_extra=documented(ServeChange))
def patch(request: Request, name: str, body: JsonBody) -> Response:
    caller_of(request).require_somewhere("deployer")

    def change(context: ChangeContext) -> ApiReply:
        old = serves.get(context.tx, name)
        require_match(request, old.generation)
        new = changes.patch(context, old, body)
        places = targets.places_of(context.tx, [name])
        return ApiReply(200, views.serve(new, places[name]), {"etag": etag(new.generation)})

    return carry_out(request, body, change)


@router.delete("/{name}", status_code=204, responses=DRY, summary="Delete a serve", openapi_extra=documented())
def delete(request: Request, name: str) -> Response:
    caller_of(request).require("deployer")

    def change(context: ChangeContext) -> ApiReply:
        old = serves.get(context.tx, name)
        require_match(request, old.generation)
        changes.delete(context, old)
        return ApiReply(204)

    return carry_out(request, None, change)


@router.get("/{name}/infra-config/{env}", summary="Get the infrastructure of a serve in an environment")
def get_infra(request: Request, name: str, env: str) -> Response:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        serves.get(tx, name)
        environments.get(tx, env)
        row = serves.infra(tx, name, env)
    if row is None:
        raise not_found("infra-config", f"{name} in {env}", "POST to the same path makes one")
    return JSONResponse(views.infra(row), headers={"etag": etag(row.generation)})


@router.post(
    "/{name}/infra-config/{env}",
    status_code=201,
    responses=STARTED | DRY,
    summary="Say the infrastructure of a serve in an environment",
    openapi_extra=documented(InfraConfig, WRAPPERS[0]),
)
def create_infra(request: Request, name: str, env: str, body: JsonBody) -> Response:
    caller_of(request).require("deployer", env)

    def change(context: ChangeContext) -> ApiReply:
        serves.get(context.tx, name)
        environments.get(context.tx, env)
        if serves.infra(context.tx, name, env) is not None:
            raise conflict(f"{name} has an infra-config in {env} already", "PATCH changes it")
        return infra_reply(deploy.set_infra(context, name, env, body, None), 201)

    return carry_out(request, body, change)


@router.patch(
    "/{name}/infra-config/{env}",
    responses=STARTED,
    summary="Change the infrastructure; what is deployed is deployed again, as a revision",
    openapi_extra=documented(InfraConfig, WRAPPERS[0]),
)
def patch_infra(request: Request, name: str, env: str, body: JsonBody) -> Response:
    caller_of(request).require("deployer", env)

    def change(context: ChangeContext) -> ApiReply:
        serves.get(context.tx, name)
        environments.get(context.tx, env)
        old = serves.infra(context.tx, name, env)
        require_match(request, old.generation if old else None)
        if old is None:
            raise not_found("infra-config", f"{name} in {env}", "POST to the same path makes one")
        return infra_reply(deploy.set_infra(context, name, env, body, old), 200)

    return carry_out(request, body, change)


def infra_reply(changed: tuple[serves.Infra, deploy.Begun | None], status: int) -> ApiReply:
    row, begun = changed
    headers = {"etag": etag(row.generation)}
    if begun is None:
        return ApiReply(status, {**views.infra(row), "deployment": None}, headers)
    headers["location"] = f"/api/v1/operation/{begun.operation.id}"
    return ApiReply(202, {**views.infra(row), "deployment": views.begun(begun)}, headers)
