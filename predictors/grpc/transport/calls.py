"""gRPC on top of HTTP/2 streams: messages with a length before each, and a status at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any
from urllib.parse import quote

from predictors.grpc.transport.connection import Http2Connection
from predictors.grpc.transport.fields import Headers
from predictors.grpc.transport.frames import literal
from predictors.grpc.transport.methods import (
    INTERNAL_ERROR,
    NO_SUCH_METHOD,
    PUSHBACK,
    Abort,
    Guard,
    Method,
    Streaming,
    Unary,
    head_of,
)
from predictors.grpc.transport.observed_call import ObservedCall
from predictors.grpc.transport.stream import Stream
from predictors.protocol.grpc_status import GrpcStatus
from predictors.queueing.byte_budget import BudgetExhausted, ByteBudget
from predictors.queueing.inflation import InflatedTooLarge, Inflater, Inflation, InflationFailed
from predictors.queueing.slow_clients import CHECK_INTERVAL, close_slow
from predictors.runtime.garbage import forget_frames
from predictors.telemetry.exchange import Exchange, Observer

log = logging.getLogger("predictors")

PREFIX = 5  # bytes before each message: whether it is compressed, and its length
MAX_PIECE = 256 * 1024  # bytes of a message that are gathered in one piece
ENCODINGS = {b"identity", b"gzip", b"deflate"}
MAX_DETAILS = 600  # characters: they travel in a header, of which clients accept 8 KiB
STATUS_200, STATUS_415 = b"\x88", b"\x08\x03415"  # as HPACK has it in its table, or has its name
CONTENT_TYPE = literal(b"content-type", b"application/grpc")
ACCEPTED = literal(b"grpc-accept-encoding", b"identity,deflate,gzip")
OK_HEADERS = STATUS_200 + CONTENT_TYPE + ACCEPTED
OK_TRAILERS = literal(b"grpc-status", b"0")


class GrpcCall(ObservedCall, Stream):
    """One gRPC call."""

    arrived: asyncio.Event
    """For a stream of messages: set when more data, or the end, has arrived."""
    sent: asyncio.Event
    """Likewise: set when flow control holds nothing back any more."""
    decoded: Any = None
    """The request as the fast path has decoded it, for the slow path."""
    chosen = 0

    def __init__(self, connection: Http2Connection, number: int, headers: Headers, server: GrpcServer) -> None:
        super().__init__(connection, number, headers)
        self.server = server
        self.head = head_of(headers)
        self.buffer: bytes | bytearray = b""
        self.pieces: list[bytes | bytearray] = []
        """Of a large message, what has arrived before `buffer`: one that grew would be copied again and again."""
        self.method = server.methods.get(self.head.path)
        self.streaming = False
        self.admitted = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        """Ends it at its deadline, once it has a task."""

    # -- from the stream ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        if self.server.observer.watching:
            self.observe()
        if not self.head.is_grpc:
            self.ended_with("UNKNOWN")
            self.connection.send_trailers(self, STATUS_415 + literal(b"content-type", b"text/plain"))
        elif self.method is None:
            self.fail(GrpcStatus.UNIMPLEMENTED, NO_SUCH_METHOD)
        elif self.head.encoding not in ENCODINGS:
            self.fail(GrpcStatus.UNIMPLEMENTED, "unknown message encoding; expected identity, deflate or gzip")
        elif self.server.guard is not None and not self.passes(self.server.guard):
            return
        elif self.method.streaming is not None:
            self.streaming, self.arrived, self.sent = True, asyncio.Event(), asyncio.Event()
            self.start(self.stream(self.method.streaming))
            self.connection.send_headers(self, self.ok_headers)

    def passes(self, guard: Guard) -> bool:
        try:
            guard(self)
        except Abort as abort:
            self.refuse(abort)
            return False
        return True

    def data(self, chunk: bytes) -> None:
        if not self.buffer:
            self.buffer = chunk
        elif len(self.buffer) > MAX_PIECE and not self.streaming:
            self.pieces.append(self.buffer)
            self.buffer = chunk
        else:
            if isinstance(self.buffer, bytes):
                self.buffer = bytearray(self.buffer)
            self.buffer += chunk
        if self.streaming:  # bounded by the window, which opens again as messages are read
            self.arrived.set()
        elif (gathered := self.gathered) >= PREFIX:
            size = self.size
            if size > self.server.max_message:
                self.refuse(self.too_large())
            elif gathered > PREFIX + size:
                self.fail(GrpcStatus.UNIMPLEMENTED, "expected exactly one message")

    def end(self) -> None:
        if self.closed:
            return
        if self.streaming:
            self.arrived.set()
            return
        gathered = self.gathered
        if gathered < PREFIX or gathered != PREFIX + self.size:
            self.fail(GrpcStatus.UNIMPLEMENTED, "expected exactly one message")
            return
        if self.pieces:
            first, *rest = *self.pieces, self.buffer
            message, compressed = b"".join((memoryview(first)[PREFIX:], *rest)), bool(first[0])
            self.pieces = []
        else:
            message, compressed = bytes(memoryview(self.buffer)[PREFIX:]), bool(self.buffer[0])
        self.buffer = b""
        if compressed:
            self.inflate(message)
        else:
            self.deliver(message)

    def deliver(self, message: bytes) -> None:
        if self.method is not None and self.method.quick is not None:
            self.method.quick(self, message)
        else:
            self.pass_on(message)

    def pass_on(self, message: bytes) -> None:
        """Runs the method itself, in a task."""
        if self.method is not None and self.method.unary is not None:
            self.start(self.answer(self.method.unary, message))

    def cancelled(self) -> None:
        self.ended_with("CANCELLED")
        if self.task is not None:
            self.task.cancel()

    def drained(self) -> None:
        if self.streaming:
            self.sent.set()

    def too_slow(self) -> None:
        if not self.streaming:
            self.fail(GrpcStatus.DEADLINE_EXCEEDED, "the message takes too long to arrive (--read-timeout)")

    def budget_exhausted(self) -> None:
        self.refuse(self.overloaded())

    def overloaded(self) -> Abort:
        self.server.refused()
        words = "the requests that are on their way hold too many bytes; try again later"
        return Abort(GrpcStatus.UNAVAILABLE, words)

    @property
    def peer(self) -> str:
        return self.connection.peer

    @property
    def seconds_left(self) -> float:
        return inf if self.head.timeout is None else self.head.timeout

    # -- messages -----------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Of the message that comes next."""
        first = self.pieces[0] if self.pieces else self.buffer
        return int.from_bytes(first[1:PREFIX], "big")

    @property
    def gathered(self) -> int:
        """Bytes that have arrived of the only message."""
        return sum(map(len, self.pieces)) + len(self.buffer) if self.pieces else len(self.buffer)

    def inflate(self, packed: bytes) -> None:
        """Delivers a compressed message: a small one at once, a large one by a task."""
        try:
            with self.inflating():
                inflation = self.begin_inflation(packed)
                message = inflation.body() if inflation.is_complete() else None
        except Abort as abort:
            self.refuse(abort)
            return
        if message is None:
            self.start(self.finish_inflation(inflation))
        else:
            self.deliver(message)

    def begin_inflation(self, packed: bytes) -> Inflation:
        if self.head.encoding == b"identity":
            raise Abort(GrpcStatus.INTERNAL, "a compressed message without grpc-encoding")
        return self.server.inflater.begin(packed, partial(self.connection.hold, self))

    async def finish_inflation(self, inflation: Inflation) -> None:
        try:
            with self.inflating():
                message = await self.server.inflater.finish(inflation)
            self.deliver(message)
        except Abort as abort:
            self.refuse(abort)
        except Exception:
            self.broken()

    @contextmanager
    def inflating(self) -> Iterator[None]:
        """What goes wrong with a compressed message ends its call."""
        try:
            yield
        except InflatedTooLarge as error:
            raise Abort(GrpcStatus.RESOURCE_EXHAUSTED, f"the message {error}") from None
        except InflationFailed as error:
            raise Abort(GrpcStatus.INTERNAL, f"the compressed message {error}") from None
        except BudgetExhausted:
            raise self.overloaded() from None

    async def messages(self) -> AsyncIterator[bytes]:
        while True:
            while len(self.buffer) >= PREFIX and len(self.buffer) >= PREFIX + self.size:
                message, compressed = self.next_message()
                if compressed:
                    with self.inflating():
                        message = await self.server.inflater.finish(self.begin_inflation(message))
                yield message
                if compressed:
                    self.connection.hold(self, -len(message))
            if len(self.buffer) >= PREFIX and self.size > self.server.max_message:
                raise self.too_large()
            if self.ended:
                break
            self.arrived.clear()
            await self.arrived.wait()
        if self.buffer:
            raise Abort(GrpcStatus.INTERNAL, "the last message is truncated")

    def next_message(self) -> tuple[bytes, bool]:
        """The message, and whether it is compressed."""
        end, compressed = PREFIX + self.size, bool(self.buffer[0])
        if isinstance(self.buffer, bytes):
            self.buffer = bytearray(self.buffer)
        message = bytes(memoryview(self.buffer)[PREFIX:end])
        del self.buffer[:end]  # only moves where it begins
        self.connection.allow(self, end)
        return message, compressed

    def too_large(self) -> Abort:
        most = self.server.max_message
        return Abort(GrpcStatus.RESOURCE_EXHAUSTED, f"the message is larger than {most} bytes (--max-body)")

    # -- answers ------------------------------------------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        if self.exchange is None:
            self.observe()
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(work)
        self.server.tasks.add(self.task)
        if self.timer is None and self.head.timeout is not None:
            self.timer = loop.call_later(self.head.timeout, self.expired)
        self.task.add_done_callback(self.task_done)

    def task_done(self, task: asyncio.Task[None]) -> None:
        self.server.tasks.discard(task)
        if task is not self.task:  # it has inflated the message, and another one goes on with it
            return
        if self.timer is not None:
            self.timer.cancel()
        if task.cancelled():  # by something that the method waited for
            self.fail(GrpcStatus.UNAVAILABLE, "the call was given up in the server")

    def expired(self) -> None:
        self.fail(GrpcStatus.DEADLINE_EXCEEDED, "the deadline of the call has passed")
        self.cancelled()

    async def answer(self, unary: Unary, message: bytes) -> None:
        self.enter()
        try:
            reply = await unary(self, message)
        except Abort as abort:
            self.refuse(abort)
            forget_frames(abort)
        except Exception as error:
            self.broken()
            forget_frames(error)
        else:
            self.reply(reply)

    async def stream(self, streaming: Streaming) -> None:
        self.enter()
        try:
            async for reply in streaming(self, self.messages()):
                self.sent.clear()
                self.connection.send_data(self, packed(reply))
                await asyncio.sleep(0)  # other tasks run, and the reply leaves
                if self.waiting:
                    await self.sent.wait()
        except Abort as abort:
            self.refuse(abort)
        except Exception:
            self.broken()
        else:
            if not self.closed:
                self.ended_with("OK")
                self.connection.send_trailers(self, OK_TRAILERS)

    def reply(self, message: bytes) -> None:
        """Sends the one message of a successful unary call."""
        if not self.closed:
            self.ended_with("OK", len(message))
            self.connection.send_reply(self, self.ok_headers, packed(message), OK_TRAILERS)

    def refuse(self, abort: Abort) -> None:
        pushback = b""
        if abort.pushback is not None:
            pushback = literal(PUSHBACK.encode(), abort.pushback.encode())
        self.fail(abort.status, str(abort), pushback)

    def broken(self) -> None:
        log.exception("a gRPC call failed in the server")
        self.fail(GrpcStatus.INTERNAL, INTERNAL_ERROR)

    def fail(self, status: GrpcStatus, details: str, more: bytes = b"") -> None:
        """Ends a call with a status in place of its reply, or of the rest of its replies."""
        if not self.closed:
            self.ended_with(status.name)
            fields = status_fields(status, details) + more
            self.connection.send_trailers(self, fields if self.streaming else self.ok_headers + fields)

    # -- observation --------------------------------------------------------------------------------------------

    @property
    def ok_headers(self) -> bytes:
        """The header block that a reply begins with."""
        return OK_HEADERS + b"".join([literal(*field) for field in self.reply_ids.fields])

    def observe(self) -> Exchange:
        client = self.connection.transport.get_extra_info("peername")
        return self.begin_exchange(self.server.observer, client)


def packed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def status_fields(status: GrpcStatus, details: str) -> bytes:
    safe = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"
    words = quote(details[:MAX_DETAILS], safe, errors="replace").encode()
    return literal(b"grpc-status", str(int(status)).encode()) + literal(b"grpc-message", words)


class GrpcServer:
    """Listens on a bound socket and answers the given methods, by path."""

    def __init__(
        self,
        methods: dict[str, Method],
        max_message: int,
        observer: Observer | None = None,
        room: ByteBudget | None = None,
        read_timeout: float = 0,
        refused: Callable[[], object] = object,
        inflater: Inflater | None = None,
    ) -> None:
        self.methods = methods
        self.observer = observer or Observer("")
        self.guard: Guard | None = None
        self.max_message = max_message
        self.room = room or ByteBudget()
        self.inflater = inflater or Inflater(max_message)
        self.read_timeout = read_timeout
        """Seconds for a message to arrive, and more for a large one; 0 for any time."""
        self.refused = refused
        """Called for each call that is refused for lack of room."""
        self.next_check: asyncio.TimerHandle | None = None
        self.connections: set[Http2Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.listener: asyncio.Server | None = None

    async def start(self, sock: Any, tls: Any = None) -> None:
        """Listens; `tls` is an SSL context."""
        # A whole message may be on its way at once, so that none ever waits for a window to open.
        window = min(max(self.max_message + 64 * 1024, 2**20), 2**31 - 1)

        def open_call(connection: Http2Connection, number: int, headers: Headers) -> Stream:
            return GrpcCall(connection, number, headers, self)

        self.listener = await asyncio.get_running_loop().create_server(
            lambda: Http2Connection(open_call, self.connections, window, self.room), sock=sock, ssl=tls
        )
        self.check_clients()

    def check_clients(self) -> None:
        loop = asyncio.get_running_loop()
        close_slow(list(self.connections), loop.time(), self.read_timeout)
        self.next_check = loop.call_later(CHECK_INTERVAL, self.check_clients)

    async def stop(self, grace: float) -> None:
        """No new connections and calls; those in flight finish within `grace` seconds."""
        if self.listener is not None:
            self.listener.close()
        told: set[Http2Connection] = set()
        end = asyncio.get_running_loop().time() + grace
        while self.connections and asyncio.get_running_loop().time() < end:
            for connection in self.connections - told:  # some may just have been accepted
                connection.prepare_to_leave()
                told.add(connection)
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.transport.abort()
        if self.next_check is not None:
            self.next_check.cancel()
