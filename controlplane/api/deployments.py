"""/serve/…: deploy, undeploy, roll back, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from controlplane.api import views
from controlplane.api.control import Control, caller_of, control_of
from controlplane.api.parameters import DRY, JsonBody, Limit, PageNumber, documented
from controlplane.api.reply import ApiReply, carry_out, etag, require_match
from controlplane.api.waiting import Wait, wait_while
from controlplane.backends.backend import BackendAway, Key
from controlplane.changes import deploy, specs
from controlplane.changes.context import ChangeContext
from controlplane.changes.models import known_model
from controlplane.domain.bodies import read
from controlplane.domain.deployments import (
    MAX_REVISION,
    WRAPPER,
    AppliedSpec,
    Deploy,
    DeployModel,
    RollBack,
    UndeployModel,
)
from controlplane.domain.problems import conflict
from controlplane.domain.revisions import changes, in_sentences
from controlplane.store import artifacts, environments, operations, serves, targets

router = APIRouter(prefix="/serve", tags=["deployments"])

RevisionNumber = Annotated[int, Path(ge=1, le=MAX_REVISION)]
Environment = Annotated[str | None, Query(max_length=40, description="only in this environment")]


@router.post(
    "/deploy-model",
    status_code=202,
    responses=DRY,
    summary="Deploy a model in one step",
    openapi_extra=documented(DeployModel),
)
def deploy_model(request: Request, body: JsonBody) -> Response:
    said = read(body, DeployModel)
    caller_of(request).require("deployer", said.env)
    model = known_model(control_of(request).store, said.serve_name, said.env, said.model_uri, said.follow, said.flavor)
    return begin(request, body, said.serve_name, said.env, lambda context: deploy.deploy_model(context, body, model))


@router.post(
    "/undeploy-model",
    status_code=202,
    responses=DRY,
    summary="Undeploy a model",
    openapi_extra=documented(UndeployModel),
)
def undeploy_model(request: Request, body: JsonBody) -> Response:
    said = read(body, UndeployModel)
    return begin(
        request, body, said.serve_name, said.env, lambda context: deploy.undeploy(context, said.serve_name, said.env)
    )


@router.post(
    "/apply",
    status_code=202,
    responses=DRY,
    summary="Make a serve what a spec says; 200 if it is that already",
    openapi_extra=documented(AppliedSpec),
)
def apply_spec(request: Request, body: JsonBody) -> Response:
    said = read(body, AppliedSpec)
    caller_of(request).require("deployer", said.env)
    model = known_model(control_of(request).store, said.name, said.env, said.model, None, said.flavor)

    def carried(context: ChangeContext) -> ApiReply:
        begun = specs.apply_spec(context, body, model)
        if begun is None:
            return ApiReply(200, {"serve": said.name, "env": said.env, "operation": None, "changes": []})
        return ApiReply(202, views.begun(begun), {"location": f"/api/v1/operation/{begun.operation.id}"})

    return carry_out(request, body, carried)


@router.post(
    "/{name}/deploy",
    status_code=202,
    responses=DRY,
    summary="Deploy an artifact",
    openapi_extra=documented(Deploy, WRAPPER),
)
def deploy_artifact(request: Request, name: str, body: JsonBody) -> Response:
    said = read(body, Deploy, [WRAPPER])
    caller_of(request).require("deployer", said.env)
    with control_of(request).store.reading() as tx:
        artifact = artifacts.find(tx, name, said.artifact_version)
    model = None
    if artifact is not None:
        model = known_model(control_of(request).store, name, said.env, artifact.model_uri, said.follow, said.flavor)
    return begin(request, body, name, said.env, lambda context: deploy.deploy(context, name, body, model))


@router.post(
    "/{name}/undeploy/{env}", status_code=202, responses=DRY, summary="Undeploy a serve", openapi_extra=documented()
)
def undeploy(request: Request, name: str, env: str) -> Response:
    return begin(request, None, name, env, lambda context: deploy.undeploy(context, name, env))


@router.post(
    "/{name}/rollback",
    status_code=202,
    responses=DRY,
    summary="Go back to an earlier revision",
    openapi_extra=documented(RollBack),
)
def roll_back(request: Request, name: str, body: JsonBody) -> Response:
    env = read(body, RollBack).env
    return begin(request, body, name, env, lambda context: deploy.roll_back(context, name, body))


def begin(
    request: Request, body: Any, name: str, env: str, change: Callable[[ChangeContext], deploy.Begun]
) -> Response:
    """The reply to a change that goes on: 202, with the operation to follow."""
    caller_of(request).require("deployer", env)

    def carried(context: ChangeContext) -> ApiReply:
        target = targets.find(context.tx, name, env)
        require_match(request, target.generation if target else None)
        begun = change(context)
        return ApiReply(202, views.begun(begun), {"location": f"/api/v1/operation/{begun.operation.id}"})

    return carry_out(request, body, carried)


@router.get("/{name}/status/{env}", summary="What is wanted, what is there, and since when")
async def status(request: Request, name: str, env: str, wait: Wait = 0) -> Response:
    caller_of(request).require("viewer", env)

    def changing() -> bool:
        with control_of(request).store.reading() as tx:
            target = targets.find(tx, name, env)
        return target is not None and target.operation is not None

    await wait_while(changing, wait)
    body, generation = await run_in_threadpool(status_now, control_of(request), name, env)
    return JSONResponse(body, headers={"etag": etag(generation)})


def status_now(control: Control, name: str, env: str) -> tuple[dict[str, Any], int]:
    """The status, and the generation of what it tells."""
    with control.store.reading() as tx:
        serves.get(tx, name)
        environment = environments.get(tx, env)
        target = targets.find(tx, name, env)
        current = operations.find(tx, target.operation) if target and target.operation else None
        revision = targets.revision(tx, name, env, target.wanted) if target and target.wanted else None
    if target is None:
        target = targets.ServeTarget(name, env, None, None, 0, None, 0, None, None, environment.created_at)
    content = revision.content if revision else None
    try:
        observed = control.backend_of(environment.config).observe(Key(env, name), target.wanted, content, closely=True)
    except BackendAway:
        observed = None
    return views.status(target, current, revision, observed), target.generation


@router.get(
    "/{name}/logs/{env}", summary="The last lines that a revision has written", response_class=PlainTextResponse
)
def logs(
    request: Request,
    name: str,
    env: str,
    revision: Annotated[int | None, Query(ge=1, le=MAX_REVISION, description="default: the newest")] = None,
    lines: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> PlainTextResponse:
    caller_of(request).require("viewer", env)
    control = control_of(request)
    with control.store.reading() as tx:
        serves.get(tx, name)
        environment = environments.get(tx, env)
        target = targets.find(tx, name, env)
        if target is None or target.last_revision == 0:
            raise conflict(f"{name} was never deployed in {env}", "POST /api/v1/serve/deploy-model deploys it")
        number = targets.revision(tx, name, env, revision or target.last_revision).number
    return PlainTextResponse(control.backend_of(environment.config).logs(Key(env, name), number, lines))


@router.get("/{name}/deployments", summary="Deployments, the newest first")
def deployments(
    request: Request,
    name: str,
    env: Environment = None,
    status: Annotated[targets.DeploymentStatus | None, Query(description="only with this status")] = None,
    page: PageNumber = 1,
    limit: Limit = 50,
) -> dict[str, Any]:
    caller = caller_of(request)
    caller.require("viewer", env)
    with control_of(request).store.listing() as tx:
        serves.get(tx, name)
        if env is not None:
            environments.get(tx, env)
        rows, total = targets.deployments(tx, name, env, status, page, limit)
    return views.page([views.deployment(row) for row in rows], total, page, limit)


@router.get("/{name}/revisions", summary="Revisions, the newest first")
def revisions(
    request: Request, name: str, env: Environment = None, page: PageNumber = 1, limit: Limit = 50
) -> dict[str, Any]:
    caller_of(request).require("viewer", env)
    with control_of(request).store.listing() as tx:
        serves.get(tx, name)
        if env is not None:
            environments.get(tx, env)
        rows, total = targets.revisions(tx, name, env, page, limit)
    return views.page([views.revision(row) for row in rows], total, page, limit)


@router.get("/{name}/revisions/{env}/{number}", summary="Get a revision")
def revision(request: Request, name: str, env: str, number: RevisionNumber) -> dict[str, Any]:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        serves.get(tx, name)
        return views.revision(targets.revision(tx, name, env, number))


@router.get("/{name}/revisions/{env}/{number}/diff/{other}", summary="What differs between two revisions")
def diff(request: Request, name: str, env: str, number: RevisionNumber, other: RevisionNumber) -> dict[str, Any]:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        serves.get(tx, name)
        before = targets.revision(tx, name, env, number)
        after = targets.revision(tx, name, env, other)
    listed = changes(before.content, after.content)
    return {"from": number, "to": other, "changes": listed, "text": in_sentences(listed)}
