"""/operation and /event: changes under way, and who did what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from controlplane.api import views
from controlplane.api.control import caller_of, control_of
from controlplane.api.parameters import Limit, documented
from controlplane.api.reply import ApiReply, carry_out
from controlplane.api.waiting import Wait, wait_while
from controlplane.changes import deploy
from controlplane.changes.context import ChangeContext
from controlplane.store import events, operations

router = APIRouter(tags=["operations"])

MAX_ID = 2**63 - 1  # what databases count to


@router.get("/operation/{id}", summary="How far a change is")
async def get(request: Request, id: str, wait: Wait = 0) -> dict[str, Any]:
    def read() -> operations.Operation:
        with control_of(request).store.reading() as tx:
            return operations.get(tx, id)

    row = await run_in_threadpool(read)
    caller_of(request).require("viewer", row.env)
    await wait_while(lambda: read().state == "RUNNING", wait)
    return views.operation(await run_in_threadpool(read))


@router.post("/operation/{id}/abort", summary="End a change under way", openapi_extra=documented())
def abort(request: Request, id: str) -> Response:
    """What was active before the change is wanted again."""
    with control_of(request).store.reading() as tx:
        env = operations.get(tx, id).env
    caller_of(request).require("deployer", env)

    def change(context: ChangeContext) -> ApiReply:
        return ApiReply(200, views.operation(deploy.abort(context, operations.get(context.tx, id))))

    return carry_out(request, None, change)


@router.get("/event", summary="Audit events, the oldest first; with `before`, the newest first")
def listed(
    request: Request,
    serve: Annotated[str | None, Query(max_length=63)] = None,
    env: Annotated[str | None, Query(max_length=63)] = None,
    after: Annotated[int, Query(ge=0, le=MAX_ID, description="only events after this id")] = 0,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="only events before this id")] = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    caller_of(request).require("viewer", env)
    with control_of(request).store.reading() as tx:
        if before is not None:
            rows = events.newest(tx, serve=serve, env=env, before=before, limit=limit)
        else:
            rows = events.listed(tx, serve=serve, env=env, after=after, limit=limit)
    return {"items": [views.event(row) for row in rows], "next": rows[-1].id if rows else after}
