"""/event/stream: tells by server-sent events that something has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from controlplane.api.control import Control, caller_of, control_of
from controlplane.store import events

router = APIRouter(tags=["operations"])

POLL_INTERVAL = 1.0
BEAT_INTERVAL = 15.0
"""A comment is sent after so many seconds without an event: whoever is in between must not end the stream."""


@router.get("/event/stream", summary="Server-sent events: an audit event was added", response_class=StreamingResponse)
async def stream(
    request: Request,
    serve: Annotated[str | None, Query(max_length=63, description="only of this serve")] = None,
    env: Annotated[str | None, Query(max_length=63, description="only of this environment")] = None,
) -> StreamingResponse:
    """One `changed` for all events of a second, with the id of the last one; GET /event?after= has them."""
    caller_of(request).require_somewhere("viewer")
    return StreamingResponse(
        changes(control_of(request), serve, env), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


async def changes(control: Control, serve: str | None = None, env: str | None = None) -> AsyncIterator[str]:
    """Holds no thread while nothing happens; ends with the server."""
    last = await run_in_threadpool(last_event, control, None, serve, env)
    yield f"retry: {POLL_INTERVAL * 1000:.0f}\n\n"
    quiet = 0.0
    while not control.closing.is_set():
        await asyncio.sleep(POLL_INTERVAL)
        newest = await run_in_threadpool(last_event, control, last, serve, env)
        quiet += POLL_INTERVAL
        if newest != last:
            yield f"event: changed\nid: {newest}\ndata: {newest}\n\n"
            last, quiet = newest, 0.0
        elif quiet >= BEAT_INTERVAL:
            yield ": nothing new\n\n"
            quiet = 0.0


def last_event(control: Control, known: int | None, serve: str | None, env: str | None) -> int:
    """The id of the newest event, or the one that is known if nothing has happened."""
    with control.store.reading() as tx:
        newest = events.newest(tx, serve=serve, env=env, limit=1)
    return newest[0].id if newest else known or 0
