"""/serve/{name}/rollout/{env}: how far a change has come, and what a person may do to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.api.deployments import begin
from controlplane.api.parameters import DRY, Limit, PageNumber, documented
from controlplane.api.reply import ApiReply, carry_out
from controlplane.api.waiting import Wait, wait_while
from controlplane.changes import rollouts as changes
from controlplane.changes.context import ChangeContext
from controlplane.domain.bodies import read
from controlplane.domain.problems import not_found
from controlplane.domain.rollouts import Promotion
from controlplane.store import environments, operations, rollouts, serves
from controlplane.store.rollouts import StoredRollout
from monitoring.verdict import picture

router = APIRouter(prefix="/serve", tags=["rollouts"])

Verb = Callable[[ChangeContext, str, str], StoredRollout]


@router.get("/{name}/rollout/{env}", summary="How far the newest rollout is, step by step")
async def get(request: Request, name: str, env: str, wait: Wait = 0) -> dict[str, Any]:
    caller_of(request).require("viewer", env)

    def now() -> dict[str, Any]:
        with control_of(request).store.reading() as tx:
            return shown(tx, known(tx, name, env))

    await run_in_threadpool(now)
    await wait_while(lambda: now()["state"] == "RUNNING", wait)
    return await run_in_threadpool(now)


@router.get("/{name}/rollout/{env}/looks", summary="What was known of the newest rollout, look by look")
def looks(
    request: Request,
    name: str,
    env: str,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="only looks after this number")] = -1,
    limit: Limit = 100,
) -> dict[str, Any]:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        rows = rollouts.looks(tx, known(tx, name, env).operation, after, limit)
    return {"items": [views.look(row) for row in rows], "next": rows[-1].number if rows else after}


@router.get(
    "/{name}/rollout/{env}/picture",
    summary="The evidence of the newest rollout, growing towards its bound, as SVG",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
def drawn(
    request: Request,
    name: str,
    env: str,
    gate: Annotated[str | None, Query(max_length=60, description="default: the one that decided")] = None,
) -> Response:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        rollout = known(tx, name, env)
        kept = [each.look for each in rollouts.looks(tx, rollout.operation) if rollout.plan.steps[each.step].weight]
    drawable = [each for one in kept for each in one.evidence if each.against is not None]
    gates = sorted({each.gate for each in drawable})
    if not gates or gate not in (None, *gates):
        wanted = ", ".join(gates) or "a rollout whose steps are judged"
        raise not_found("evidence", f"{gate or 'of any gate'} of {name} in {env}", f"expected {wanted}")
    failed = [each.gate for each in drawable if each.verdict == "fail"]
    gate = gate or next(iter(failed), gates[0])
    return Response(picture(kept, gate), media_type="image/svg+xml")


@router.get("/{name}/rollouts", summary="Rollouts, the newest first")
def listed(
    request: Request,
    name: str,
    env: Annotated[str | None, Query(max_length=40, description="only in this environment")] = None,
    page: PageNumber = 1,
    limit: Limit = 50,
) -> dict[str, Any]:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        serves.get(tx, name)
        if env is not None:
            environments.get(tx, env)
        rows, total = rollouts.listed(tx, name, env, page, limit)
        items = [shown(tx, row) for row in rows]
    return views.page(items, total, page, limit)


@router.post(
    "/{name}/rollout/{env}/pause", responses=DRY, summary="Leave the traffic as it is", openapi_extra=documented()
)
def pause(request: Request, name: str, env: str) -> Response:
    return carried(request, None, name, env, changes.pause)


@router.post(
    "/{name}/rollout/{env}/resume", responses=DRY, summary="Go on with a paused rollout", openapi_extra=documented()
)
def resume(request: Request, name: str, env: str) -> Response:
    return carried(request, None, name, env, changes.resume)


@router.post(
    "/{name}/rollout/{env}/promote",
    responses=DRY,
    summary="Go to the next step, or to all of the traffic, whatever is known of the revision",
    openapi_extra=documented(Promotion),
)
def promote(request: Request, name: str, env: str, body: Annotated[Any, Body()] = None) -> Response:
    full = read({} if body is None else body, Promotion).full
    return carried(request, body, name, env, lambda context, serve, place: changes.promote(context, serve, place, full))


@router.post(
    "/{name}/rollout/{env}/abort",
    responses=DRY,
    summary="Send all requests back to the revision before",
    openapi_extra=documented(),
)
def abort(request: Request, name: str, env: str) -> Response:
    return carried(request, None, name, env, changes.abort_rollout)


@router.post(
    "/{name}/rollout/{env}/retry",
    status_code=202,
    responses=DRY,
    summary="Roll a revision that has failed out again",
    openapi_extra=documented(),
)
def retry(request: Request, name: str, env: str) -> Response:
    return begin(request, None, name, env, lambda context: changes.retry(context, name, env))


@router.post(
    "/{name}/rollout/{env}/undo",
    status_code=202,
    responses=DRY,
    summary="Go back to the revision that was active before, at once",
    openapi_extra=documented(),
)
def undo(request: Request, name: str, env: str) -> Response:
    return begin(request, None, name, env, lambda context: changes.undo(context, name, env))


def carried(request: Request, body: Any, name: str, env: str, verb: Verb) -> Response:
    """The rollout as it is after the verb."""
    caller_of(request).require("deployer", env)

    def change(context: ChangeContext) -> ApiReply:
        return ApiReply(200, shown(context.tx, verb(context, name, env)))

    return carry_out(request, body, change)


def known(tx: Connection, name: str, env: str) -> StoredRollout:
    """The newest rollout. Raises ApiProblem (404) if there never was one."""
    serves.get(tx, name)
    environments.get(tx, env)
    row = rollouts.newest(tx, name, env)
    if row is None:
        way_out = "a deployment with the strategy canary, linear or blue-green begins one"
        raise not_found("rollout", f"{name} in {env}", way_out)
    return row


def shown(tx: Connection, row: StoredRollout) -> dict[str, Any]:
    return views.rollout(row, operations.get(tx, row.operation), rollouts.steps(tx, row.operation))
