"""/operation and /event: changes under way, and who did what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from controlplane.access.callers import Role
from controlplane.api import streams, views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import DRY, MAX_ID, Limit, OptionalBody, PageNumber, documented
from controlplane.api.reply import ApiReply, carry_out
from controlplane.api.streams import StreamPart
from controlplane.api.waiting import Wait, wait_while
from controlplane.changes import approvals, deploy
from controlplane.changes.context import ChangeContext
from controlplane.domain.bodies import read
from controlplane.domain.deployments import ApprovalReason
from controlplane.store import events, operations
from controlplane.store.database import Store

router = APIRouter(tags=["operations"])

MAX_PART = 100
"""Events that a stream reads at once."""
Decision = Callable[[ChangeContext, operations.Operation, str], operations.Operation]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {}}, streams.MEDIA_TYPE: {"schema": {"type": "string"}}}}
}


@router.get(
    "/operation/{id}",
    summary="How far a change is; as a stream, each step of it",
    responses=STREAM,
    response_model=None,
)
async def get(request: Request, id: str, wait: Wait = 0) -> dict[str, Any] | Response:
    def current() -> operations.Operation:
        with control_of(request).store.reading() as tx:
            return operations.get(tx, id)

    row = await run_in_threadpool(current)
    caller_of(request).require("viewer", row.env)
    if streams.is_wanted(request):
        return streams.stream(request, steps(current))
    await wait_while(lambda: current().state in operations.UNDER_WAY, wait)
    return views.operation(await run_in_threadpool(current))


def steps(read: Callable[[], operations.Operation]) -> Callable[[], StreamPart]:
    """The operation whenever it has changed, until it has ended."""
    sent: operations.Operation | None = None

    def part() -> StreamPart:
        nonlocal sent
        before, sent = sent, read()
        messages = [] if sent == before else [streams.message(views.operation(sent))]
        return StreamPart(messages, "wait" if sent.state in operations.UNDER_WAY else "end")

    return part


@router.post("/operation/{id}/abort", summary="End a change under way", openapi_extra=documented())
def abort(request: Request, id: str) -> Response:
    """What was active before the change is wanted again."""
    return changed(request, id, None, "deployer", deploy.abort)


@router.post(
    "/operation/{id}/approve",
    responses=DRY,
    summary="Let a change begin that waits for a second person",
    openapi_extra=documented(ApprovalReason),
)
def approve(request: Request, id: str, body: OptionalBody = None) -> Response:
    return decided(request, id, body, approvals.approve)


@router.post(
    "/operation/{id}/reject",
    responses=DRY,
    summary="End a change that waits for a second person",
    openapi_extra=documented(ApprovalReason),
)
def reject(request: Request, id: str, body: OptionalBody = None) -> Response:
    return decided(request, id, body, approvals.reject)


def decided(request: Request, id: str, body: Any, decide: Decision) -> Response:
    """The reply to what an approver says of a change."""

    def with_reason(context: ChangeContext, row: operations.Operation) -> operations.Operation:
        return decide(context, row, read(body if body is not None else {}, ApprovalReason).reason)

    return changed(request, id, body, "approver", with_reason)


def changed(
    request: Request,
    id: str,
    body: Any,
    role: Role,
    change: Callable[[ChangeContext, operations.Operation], operations.Operation],
) -> Response:
    """The reply to what somebody with the role does to an operation."""
    with control_of(request).store.reading() as tx:
        env = operations.get(tx, id).env
    caller_of(request).require(role, env)

    def carried(context: ChangeContext) -> ApiReply:
        return ApiReply(200, views.operation(change(context, operations.get(context.tx, id))))

    return carry_out(request, body, carried)


@router.get("/operation", summary="Changes, the newest first")
def listed_operations(
    request: Request,
    state: operations.State | None = None,
    serve: Annotated[str | None, Query(max_length=63)] = None,
    env: Annotated[str | None, Query(max_length=63)] = None,
    page: PageNumber = 1,
    limit: Limit = 50,
) -> dict[str, Any]:
    caller_of(request).require("viewer", env)
    with control_of(request).store.listing() as tx:
        rows, total = operations.listed(tx, state=state, serve=serve, env=env, page=page, limit=limit)
    return views.page([views.operation(row) for row in rows], total, page, limit)


@router.get(
    "/event",
    summary="Audit events, the oldest first; with `before`, the newest first; as a stream, those that come",
    responses=STREAM,
)
def listed(
    request: Request,
    serve: Annotated[str | None, Query(max_length=63)] = None,
    env: Annotated[str | None, Query(max_length=63)] = None,
    after: Annotated[int | None, Query(ge=0, le=MAX_ID, description="only events after this id")] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="only events before this id")] = None,
    limit: Limit = 100,
) -> Response:
    caller_of(request).require("viewer", env)
    store = control_of(request).store
    if streams.is_wanted(request):
        last = streams.last_event_id(request)
        return streams.stream(request, those_that_come(store, serve, env, after if last is None else last))
    if before is not None:
        return JSONResponse(newest(request, serve, env, before, limit))
    with store.listing() as tx:
        rows = events.listed(tx, serve=serve, env=env, after=after or 0, limit=limit)
    return JSONResponse({"items": [views.event(row) for row in rows], "next": rows[-1].id if rows else after or 0})


def newest(
    request: Request, serve: str | None, env: str | None, before: int = MAX_ID, limit: int = 100
) -> dict[str, Any]:
    """The events before an id, the newest first."""
    caller_of(request).require("viewer", env)
    with control_of(request).store.listing() as tx:
        rows = events.newest(tx, serve=serve, env=env, before=before, limit=limit)
    return {"items": [views.event(row) for row in rows], "next": rows[-1].id if rows else before}


def those_that_come(store: Store, serve: str | None, env: str | None, after: int | None) -> Callable[[], StreamPart]:
    """Events after an id; None stands for the newest that there is."""
    cursor = after

    def part() -> StreamPart:
        nonlocal cursor
        with store.reading() as tx:
            if cursor is None:
                cursor = events.newest_id(tx)
            rows = events.listed(tx, serve=serve, env=env, after=cursor, limit=MAX_PART)
        if rows:
            cursor = rows[-1].id
        messages = [streams.message(views.event(row), row.id) for row in rows]
        return StreamPart(messages, "more" if len(rows) == MAX_PART else "wait")

    return part
