"""gRPC on top of HTTP/2 streams: messages with a length before each, and a status at the end."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote

from predictors.rpc.connection import Connection, Headers, Stream
from predictors.rpc.frames import literal

log = logging.getLogger("predictors")

PREFIX = 5  # bytes before each message: whether it is compressed, and its length
ENCODINGS = {b"identity", b"gzip", b"deflate"}
STATUS_200, STATUS_415 = b"\x88", b"\x08\x03415"  # as HPACK has it in its table, or has its name
CONTENT_TYPE = literal(b"content-type", b"application/grpc")
ACCEPTED = literal(b"grpc-accept-encoding", b"identity,deflate,gzip")
OK_HEADERS = STATUS_200 + CONTENT_TYPE + ACCEPTED
OK_TRAILERS = literal(b"grpc-status", b"0")


class Status(IntEnum):
    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Abort(Exception):
    """Ends a call with a status; `str(error)` is for the caller."""

    def __init__(self, status: Status, details: str) -> None:
        super().__init__(details)
        self.status = status


Unary: TypeAlias = "Callable[[Call, bytes], Awaitable[bytes]]"
Streaming: TypeAlias = "Callable[[Call, AsyncIterator[bytes]], AsyncIterator[bytes]]"
Quick: TypeAlias = "Callable[[Call, bytes], bool]"


@dataclass(frozen=True, slots=True)
class Method:
    """How calls of one method are answered: one message by one, or a stream by a stream."""

    unary: Unary | None = None
    streaming: Streaming | None = None
    quick: Quick | None = None
    """Tries to answer without a task, now or later; false if it cannot."""


@dataclass(frozen=True, slots=True)
class Head:
    path: str
    content_type: bytes
    encoding: bytes
    metadata: tuple[tuple[str, str], ...]


@lru_cache(maxsize=256)
def head_of(headers: Headers) -> Head:
    fields = dict(headers)
    metadata = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not name.startswith((b":", b"grpc-")) and name not in (b"te", b"content-type")
    )
    return Head(
        fields.get(b":path", b"").decode("latin-1"),
        fields.get(b"content-type", b""),
        fields.get(b"grpc-encoding", b"identity"),
        metadata,
    )


class Call(Stream):
    """One gRPC call."""

    def __init__(self, connection: Connection, number: int, headers: Headers, server: Server) -> None:
        super().__init__(connection, number, headers)
        self.server = server
        self.head = head_of(headers)
        self.buffer = b""
        self.method = server.methods.get(self.head.path)
        self.requests: asyncio.Queue[bytes | Abort | None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.begin()

    def begin(self) -> None:
        if not self.head.content_type.startswith(b"application/grpc"):
            self.connection.send_trailers(self, STATUS_415 + literal(b"content-type", b"text/plain"))
        elif self.method is None:
            self.fail(Status.UNIMPLEMENTED, "no such method; reflection lists them all")
        elif self.head.encoding not in ENCODINGS:
            self.fail(Status.UNIMPLEMENTED, "unknown message encoding; expected identity, deflate or gzip")
        elif self.method.streaming is not None:
            self.requests = asyncio.Queue()
            self.start(self.stream(self.method.streaming, self.requests))

    # -- from the stream ----------------------------------------------------------------------------------------

    def data(self, chunk: bytes) -> None:
        if self.closed:
            return
        self.buffer = self.buffer + chunk if self.buffer else chunk
        if len(self.buffer) >= PREFIX and self.size > self.server.most_message:
            self.refuse(self.too_large())
        while self.requests is not None and len(self.buffer) >= PREFIX + self.size and len(self.buffer) >= PREFIX:
            end = PREFIX + self.size
            message, self.buffer = self.buffer[:end], self.buffer[end:]
            self.requests.put_nowait(self.unpacked_or_abort(message))

    def end(self) -> None:
        if self.closed:
            return
        if self.requests is not None:
            self.requests.put_nowait(None)
            return
        if len(self.buffer) < PREFIX or len(self.buffer) != PREFIX + self.size:
            self.fail(Status.INVALID_ARGUMENT, "expected exactly one message")
            return
        message = self.unpacked_or_abort(self.buffer)
        self.buffer = b""
        method = self.method
        if isinstance(message, Abort):
            self.refuse(message)
        elif method is not None and method.unary is not None and not (method.quick and method.quick(self, message)):
            self.start(self.answer(method.unary, message))

    def cancelled(self) -> None:
        if self.task is not None:
            self.task.cancel()

    # -- messages -----------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Of the message that comes next."""
        return int.from_bytes(self.buffer[1:PREFIX], "big")

    def unpacked_or_abort(self, message: bytes) -> bytes | Abort:
        body = message[PREFIX:]
        if not message[0]:
            return body
        if self.head.encoding == b"identity":
            return Abort(Status.INTERNAL, "a compressed message without grpc-encoding")
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            unpacked = unpacker.decompress(body, self.server.most_message + 1)
        except zlib.error:
            return Abort(Status.INVALID_ARGUMENT, "the message cannot be decompressed")
        if len(unpacked) > self.server.most_message:
            return self.too_large()
        return unpacked if unpacker.eof else Abort(Status.INVALID_ARGUMENT, "the compressed message is truncated")

    def too_large(self) -> Abort:
        most = self.server.most_message
        return Abort(Status.RESOURCE_EXHAUSTED, f"the message is larger than {most} bytes (--max-body)")

    # -- answers ------------------------------------------------------------------------------------------------

    def start(self, work: Any) -> None:
        self.task = asyncio.get_running_loop().create_task(work)
        self.server.tasks.add(self.task)
        self.task.add_done_callback(self.server.tasks.discard)

    async def answer(self, unary: Unary, message: bytes) -> None:
        try:
            reply = await unary(self, message)
        except Abort as abort:
            self.refuse(abort)
        except Exception:
            self.broken()
        else:
            self.reply(reply)

    async def stream(self, streaming: Streaming, requests: asyncio.Queue[bytes | Abort | None]) -> None:
        self.connection.send_headers(self, OK_HEADERS)
        try:
            async for reply in streaming(self, messages_of(requests)):
                if not self.closed:
                    self.connection.send_data(self, packed(reply))
        except Abort as abort:
            self.end_with(abort.status, str(abort))
        except Exception:
            self.broken()
        else:
            if not self.closed:
                self.connection.send_trailers(self, OK_TRAILERS)

    def reply(self, message: bytes) -> None:
        """The one message of a unary call that went well."""
        if not self.closed:
            self.connection.send_reply(self, OK_HEADERS, packed(message), OK_TRAILERS)

    def refuse(self, abort: Abort) -> None:
        self.fail(abort.status, str(abort))

    def broken(self) -> None:
        log.exception("a gRPC call failed in the server")
        self.fail(Status.INTERNAL, "internal error; the server's log has the details")

    def fail(self, status: Status, details: str) -> None:
        """Ends a call before anything of a reply has been sent."""
        if not self.closed:
            self.connection.send_trailers(self, STATUS_200 + CONTENT_TYPE + ACCEPTED + status_fields(status, details))

    def end_with(self, status: Status, details: str) -> None:
        if not self.closed:
            self.connection.send_trailers(self, status_fields(status, details))


async def messages_of(requests: asyncio.Queue[bytes | Abort | None]) -> AsyncIterator[bytes]:
    while (message := await requests.get()) is not None:
        if isinstance(message, Abort):
            raise message
        yield message


def packed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def status_fields(status: Status, details: str) -> bytes:
    words = quote(details, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()
    return literal(b"grpc-status", str(int(status)).encode()) + literal(b"grpc-message", words)


class Server:
    """Listens on a bound socket and answers the given methods, by path."""

    def __init__(self, methods: dict[str, Method], most_message: int) -> None:
        self.methods = methods
        self.most_message = most_message
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.listener: asyncio.Server | None = None

    async def start(self, sock: Any) -> None:
        # A whole message may be on its way at once, so that none ever waits for a window to open.
        window = min(max(self.most_message + 64 * 1024, 2**20), 2**31 - 1)

        def open_call(connection: Connection, number: int, headers: Headers) -> Stream:
            return Call(connection, number, headers, self)

        self.listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(open_call, self.connections, window), sock=sock
        )

    async def stop(self, grace: float) -> None:
        """No new connections and calls; those in flight finish within `grace` seconds."""
        if self.listener is not None:
            self.listener.close()
        for connection in list(self.connections):
            connection.leave()
        end = asyncio.get_running_loop().time() + grace
        while self.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.transport.abort()
