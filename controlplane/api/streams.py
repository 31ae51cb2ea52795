"""Server-sent events: what happens, as it happens. One query of the store, repeated, serves all streams."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Send

from controlplane.api.control import control_of
from controlplane.domain.problems import ApiProblem
from controlplane.store import events
from controlplane.store.database import Store

MEDIA_TYPE = "text/event-stream"
POLL_INTERVAL = 0.5
HEARTBEAT_INTERVAL = 15.0
SEND_SECONDS = 30.0
"""How long a client may take to read before its stream is ended; it goes on where it was with Last-Event-ID."""
MAX_STREAMS = 200
RECONNECT_MILLISECONDS = 2000


@dataclass(frozen=True, slots=True)
class StreamPart:
    """What a stream sends next, and whether there is more at once, later, or nothing more ever."""

    messages: Sequence[str]
    then: Literal["more", "wait", "end"]


class EventFeed:
    """Wakes streams when an event has been added to the store. It asks the store only while there are streams."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.newest = 0
        """The id of the newest event that is known of."""
        self.streams = 0
        self.closed = False
        """Set at shutdown, from any thread: streams end within a poll."""
        self.changed = asyncio.Event()
        self.poller: asyncio.Task[None] | None = None

    def close(self) -> None:
        self.closed = True

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Counts a stream, and polls while there are any."""
        self.streams += 1
        if self.poller is None or self.poller.done():
            self.poller = asyncio.create_task(self.poll())
        try:
            yield
        finally:
            self.streams -= 1

    async def poll(self) -> None:
        while self.streams and not self.closed:
            try:
                newest = await run_in_threadpool(self.read)
            except (DBAPIError, PoolTimeout):
                newest = self.newest  # the store is away: streams stay, and wait
            if newest != self.newest:
                self.newest = newest
                self.wake()
            await asyncio.sleep(POLL_INTERVAL)
        self.wake()

    def read(self) -> int:
        with self.store.reading() as tx:
            return events.newest_id(tx)

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait(self, seen: int, seconds: float) -> None:
        """Returns once there is another newest event than the one seen, when the feed is closed, or after the time."""
        if self.newest == seen and not self.closed:
            try:
                await asyncio.wait_for(self.changed.wait(), seconds)
            except TimeoutError:
                pass


class EventStream(StreamingResponse):
    media_type = MEDIA_TYPE

    async def stream_response(self, send: Send) -> None:
        """A client that does not read holds its stream no longer than SEND_SECONDS."""

        async def bounded(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            await super().stream_response(bounded)
        except TimeoutError:
            pass


def is_wanted(request: Request) -> bool:
    """Whether the client asks for a stream rather than for one reply."""
    accepted = request.headers.get("accept", "").split(",")
    return any(each.partition(";")[0].strip().lower() == MEDIA_TYPE for each in accepted)


def last_event_id(request: Request) -> int | None:
    """Where a client that was cut off wants to go on. Raises ApiProblem (400)."""
    text = request.headers.get("last-event-id")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ApiProblem(400, f"Last-Event-ID is {text[:40]!r}", way_out="send the id of an event, or none")
    return int(text)


def message(body: Any, id: int | None = None) -> str:
    """One event; JSON has no line breaks of its own."""
    text = f"data: {json.dumps(body, separators=(',', ':'))}\n\n"
    return text if id is None else f"id: {id}\n{text}"


def stream(request: Request, read: Callable[[], StreamPart]) -> EventStream:
    """Sends what `read` finds, now and after each event. Raises ApiProblem (503) if there are too many streams."""
    feed: EventFeed = request.app.state.feed
    if feed.streams >= MAX_STREAMS:
        raise ApiProblem(
            503, f"there are {feed.streams} streams already", way_out="try again later, or poll",
            headers=(("retry-after", "10"),),
        )  # fmt: skip
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return EventStream(parts(request, feed, read), headers=headers)


async def parts(request: Request, feed: EventFeed, read: Callable[[], StreamPart]) -> AsyncIterator[str]:
    guard = control_of(request).guard
    yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
    with feed.followed():
        heartbeat_at = time.monotonic() + HEARTBEAT_INTERVAL
        while not feed.closed:
            seen = feed.newest
            try:
                part = await run_in_threadpool(read)
            except (DBAPIError, PoolTimeout):
                part = StreamPart((), "wait")
            for each in part.messages:
                yield each
            if part.then == "end":
                return
            if part.then == "more":
                continue
            await feed.wait(seen, heartbeat_at - time.monotonic())
            if time.monotonic() >= heartbeat_at:
                try:  # the token may have been withdrawn meanwhile
                    await run_in_threadpool(guard.caller, request.headers.raw)
                except ApiProblem:
                    return
                except (DBAPIError, PoolTimeout):
                    pass
                yield ": the stream is alive\n\n"
                heartbeat_at = time.monotonic() + HEARTBEAT_INTERVAL
