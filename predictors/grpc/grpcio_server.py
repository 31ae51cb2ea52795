"""The gRPC server of grpcio with the same methods, guards and limits as our own (`--grpc-server=grpcio`).

Imported only where it is chosen.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from math import inf
from typing import Any
from urllib.parse import unquote

import grpc

from predictors.access.tls import TlsFiles
from predictors.grpc.transport.calls import MAX_DETAILS, GrpcServer
from predictors.grpc.transport.connection import ALWAYS_HELD
from predictors.grpc.transport.fields import Headers
from predictors.grpc.transport.frames import MAX_HEADERS, MAX_STREAMS
from predictors.grpc.transport.methods import INTERNAL_ERROR, NO_SUCH_METHOD, PUSHBACK, Abort, Method, head_of
from predictors.grpc.transport.observed_call import ObservedCall
from predictors.protocol.grpc_status import GrpcStatus
from predictors.telemetry.exchange import Exchange

log = logging.getLogger("predictors")

CODES = {code.value[0]: code for code in grpc.StatusCode}
MIN_PING_INTERVAL = 10_000  # milliseconds between the pings of a client that keeps an idle connection alive


class GrpcioServer(GrpcServer):
    server: grpc.aio.Server

    async def start(self, sock: Any, tls: TlsFiles | None = None) -> None:
        """Listens on the address of a socket that only keeps the port: grpcio binds one of its own beside it."""
        options = {
            "grpc.so_reuseport": 1,
            "grpc.max_receive_message_length": self.max_message,
            "grpc.max_send_message_length": -1,
            "grpc.max_metadata_size": MAX_HEADERS,
            "grpc.absolute_max_metadata_size": MAX_HEADERS,
            "grpc.max_concurrent_streams": MAX_STREAMS,
            "grpc.http2.min_ping_interval_without_data_ms": MIN_PING_INTERVAL,
            "grpc.keepalive_permit_without_calls": 1,
        }
        self.server = grpc.aio.server(options=list(options.items()))
        self.server.add_generic_rpc_handlers((Handlers(self),))
        host, port = sock.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if tls is None:
            self.server.add_insecure_port(address)
        else:
            self.server.add_secure_port(address, credentials(tls))
        await self.server.start()

    async def stop(self, grace: float) -> None:
        """No new connections and calls; those in flight finish within `grace` seconds."""
        await self.server.stop(grace)


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    def __init__(self, server: GrpcioServer) -> None:
        self.server = server
        self.known = {path: self.handler(path, method) for path, method in server.methods.items()}

    def service(self, details: Any) -> Any:
        return self.known.get(details.method) or self.handler(details.method, None)

    def handler(self, path: str, method: Method | None) -> Any:
        """Calls that a guard, or nobody, lets in are judged before their message is received."""

        async def unary(message: bytes, context: Any) -> bytes:
            return await GrpcioCall(self.server, path, method, context).answer(message)

        async def guarded(messages: Any, context: Any) -> bytes:
            return await GrpcioCall(self.server, path, method, context).answer()

        async def stream(messages: Any, context: Any) -> None:
            await GrpcioCall(self.server, path, method, context).stream()

        if method is not None and method.streaming is not None:
            return grpc.stream_stream_rpc_method_handler(stream)
        if method is None or self.server.guard is not None:
            return grpc.stream_unary_rpc_method_handler(guarded)
        return grpc.unary_unary_rpc_method_handler(unary)


class GrpcioCall(ObservedCall):
    """One gRPC call to grpcio's server."""

    def __init__(self, server: GrpcioServer, path: str, method: Method | None, context: Any) -> None:
        self.server, self.method, self.context = server, method, context
        self.headers = headers_of(path, context.invocation_metadata())
        self.head = head_of(self.headers)
        self.decoded: Any = None
        self.chosen = 0
        self.admitted = False
        self.closed = False
        self.outcome: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        """The reply of the fast path; None for a call that it passes on."""

    @property
    def peer(self) -> str:
        return address_of(self.context.peer())[0]

    @property
    def seconds_left(self) -> float:
        left: float | None = self.context.time_remaining()
        return inf if left is None else left

    # -- what methods do ------------------------------------------------------------------------------------------

    def observe(self) -> Exchange:
        return self.begin_exchange(self.server.observer, address_of(self.context.peer()))

    def reply(self, message: bytes) -> None:
        if not self.outcome.done():
            self.outcome.set_result(message)

    def fail(self, status: GrpcStatus, details: str) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(Abort(status, details))

    def pass_on(self, message: bytes) -> None:
        if not self.outcome.done():
            self.outcome.set_result(None)

    # -- the call -------------------------------------------------------------------------------------------------

    async def answer(self, message: bytes | None = None) -> bytes:
        held = 0
        try:
            await self.begin()
            if message is None:
                message = await self.context.read()
                if message is grpc.aio.EOF:
                    raise Abort(GrpcStatus.UNIMPLEMENTED, "expected exactly one message")
            self.check_room(len(message))
            held = len(message)
            self.server.room.held += held
            reply = await self.reply_to(message)
            self.ended_with("OK", len(reply))
            return reply
        except BaseException as error:
            await self.end_with(error)
            raise
        finally:
            self.closed = True
            self.server.room.held -= held

    async def stream(self) -> None:
        try:
            await self.begin()
            if self.method is None or self.method.streaming is None:
                raise AssertionError("a method without streams")
            self.enter()
            async for reply in self.method.streaming(self, self.messages()):
                await self.context.write(reply)
            self.ended_with("OK")
        except BaseException as error:
            await self.end_with(error)
            raise
        finally:
            self.closed = True

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self.context.read()) is not grpc.aio.EOF:
            yield message

    async def begin(self) -> None:
        """Sends the ids of the call, and raises the status of one that is refused."""
        if self.server.observer.watching:
            self.observe()
        try:
            if self.method is None:
                raise Abort(GrpcStatus.UNIMPLEMENTED, NO_SUCH_METHOD)
            if self.server.guard is not None:
                self.server.guard(self)
        finally:
            ids = tuple((name.decode(), value.decode()) for name, value in self.reply_ids.fields)
            await self.context.send_initial_metadata(ids)

    def check_room(self, size: int) -> None:
        if size > ALWAYS_HELD and not self.server.room.has(size):
            self.server.refused()
            words = "the requests that are on their way hold too many bytes; try again later"
            raise Abort(GrpcStatus.UNAVAILABLE, words)

    async def reply_to(self, message: bytes) -> bytes:
        if self.method is None or self.method.unary is None:
            raise AssertionError("a method without an answer")
        if self.method.quick is not None:
            self.method.quick(self, message)
            reply = await self.outcome
            if reply is not None:
                return reply
        if self.exchange is None:
            self.observe()
        self.enter()
        return await self.method.unary(self, message)

    async def end_with(self, error: BaseException) -> None:
        """Ends the call with the status that an error stands for."""
        if isinstance(error, asyncio.CancelledError):
            expired = self.seconds_left <= 0
            self.ended_with("DEADLINE_EXCEEDED" if expired else "CANCELLED")
            return
        if not isinstance(error, Abort):
            log.error("a gRPC call failed in the server", exc_info=error)
            error = Abort(GrpcStatus.INTERNAL, INTERNAL_ERROR)
        self.ended_with(error.status.name)
        pushback = () if error.pushback is None else ((PUSHBACK, error.pushback),)
        await self.context.abort(CODES[int(error.status)], str(error)[:MAX_DETAILS], pushback)


def headers_of(path: str, metadata: Any) -> Headers:
    """The header fields of a call, as they were on the wire."""
    fields = [(b":path", path.encode())]
    for name, value in metadata:
        on_wire = base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1")
        fields.append((name.encode(), on_wire))
    return tuple(fields)


def address_of(peer: str) -> tuple[str, int]:
    """Host and port of a peer as grpcio writes it, such as `ipv4:127.0.0.1:80` or `ipv6:%5B::1%5D:80`."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def credentials(tls: TlsFiles) -> Any:
    """Certificates that are renewed on disk are used from the next connection on."""

    def configuration() -> Any:
        files = tls.current()
        return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.authorities)

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, tls.current().authorities is not None)
