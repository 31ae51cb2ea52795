"""/operation and /event: changes under way, and who did what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from controlplane.api import streams, views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import MAX_ID, Limit, documented
from controlplane.api.reply import ApiReply, carry_out
from controlplane.api.streams import StreamPart
from controlplane.api.waiting import Wait, wait_while
from controlplane.changes import deploy
from controlplane.changes.context import ChangeContext
from controlplane.store import events, operations
from controlplane.store.database import Store

router = APIRouter(tags=["operations"])

MAX_PART = 100
"""Events that a stream reads at once."""
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
    def read() -> operations.Operation:
        with control_of(request).store.reading() as tx:
            return operations.get(tx, id)

    row = await run_in_threadpool(read)
    caller_of(request).require("viewer", row.env)
    if streams.is_wanted(request):
        return streams.stream(request, steps(read))
    await wait_while(lambda: read().state == "RUNNING", wait)
    return views.operation(await run_in_threadpool(read))


def steps(read: Callable[[], operations.Operation]) -> Callable[[], StreamPart]:
    """The operation whenever it has changed, until it has ended."""
    sent: operations.Operation | None = None

    def part() -> StreamPart:
        nonlocal sent
        before, sent = sent, read()
        messages = [] if sent == before else [streams.message(views.operation(sent))]
        return StreamPart(messages, "wait" if sent.state == "RUNNING" else "end")

    return part


@router.post("/operation/{id}/abort", summary="End a change under way", openapi_extra=documented())
def abort(request: Request, id: str) -> Response:
    """What was active before the change is wanted again."""
    with control_of(request).store.reading() as tx:
        env = operations.get(tx, id).env
    caller_of(request).require("deployer", env)

    def change(context: ChangeContext) -> ApiReply:
        return ApiReply(200, views.operation(deploy.abort(context, operations.get(context.tx, id))))

    return carry_out(request, None, change)


@router.get(
    "/event",
    summary="Audit events, the oldest first; with `before`, the newest first; as a stream, those that come",
    responses=STREAM,
    response_model=None,
)
def listed(
    request: Request,
    serve: Annotated[str | None, Query(max_length=63)] = None,
    env: Annotated[str | None, Query(max_length=63)] = None,
    after: Annotated[int | None, Query(ge=0, le=MAX_ID, description="only events after this id")] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="only events before this id")] = None,
    limit: Limit = 100,
) -> dict[str, Any] | Response:
    caller_of(request).require("viewer", env)
    store = control_of(request).store
    if streams.is_wanted(request):
        last = streams.last_event_id(request)
        return streams.stream(request, those_that_come(store, serve, env, after if last is None else last))
    if before is not None:
        return newest(request, serve, env, before, limit)
    with store.reading() as tx:
        rows = events.listed(tx, serve=serve, env=env, after=after or 0, limit=limit)
    return {"items": [views.event(row) for row in rows], "next": rows[-1].id if rows else after or 0}


def newest(
    request: Request, serve: str | None, env: str | None, before: int = MAX_ID, limit: int = 100
) -> dict[str, Any]:
    """The events before an id, the newest first."""
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
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
