"""A gRPC server whose methods show what it makes of a call."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvloop

from predictors.grpc.transport.calls import GrpcServer
from predictors.grpc.transport.methods import Abort, Method, RpcCall
from predictors.protocol.grpc_status import GrpcStatus
from tests.serving import wait_for

MAX_MESSAGE = 12 * 1024**2
SECONDS = 10  # after which a test that waits has failed


class Service:
    """Methods that show what the server makes of a call."""

    def __init__(self) -> None:
        self.started: list[RpcCall] = []
        self.cancelled = 0
        self.release = asyncio.Event()

    def methods(self) -> dict[str, Method]:
        return {
            "/t/Echo": Method(unary=self.echo),
            "/t/Quick": Method(unary=self.echo, quick=self.quick),
            "/t/Big": Method(unary=self.big),
            "/t/Wait": Method(unary=self.wait),
            "/t/Words": Method(unary=self.words),
            "/t/Broken": Method(unary=self.broken),
            "/t/GivenUp": Method(unary=self.given_up),
            "/t/Metadata": Method(unary=self.metadata),
            "/t/Chat": Method(streaming=self.chat),
            "/t/Deaf": Method(streaming=self.deaf),
            "/t/BrokenChat": Method(streaming=self.broken_chat),
        }

    async def echo(self, call: RpcCall, message: bytes) -> bytes:
        return message

    def quick(self, call: RpcCall, message: bytes) -> None:
        call.reply(message)

    async def big(self, call: RpcCall, message: bytes) -> bytes:
        return bytes(int(message))

    async def wait(self, call: RpcCall, message: bytes) -> bytes:
        self.started.append(call)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return message

    async def words(self, call: RpcCall, message: bytes) -> bytes:
        raise Abort(GrpcStatus.INVALID_ARGUMENT, message.decode("utf-8", "surrogateescape"))

    async def broken(self, call: RpcCall, message: bytes) -> bytes:
        raise RuntimeError("a secret of the server")

    async def given_up(self, call: RpcCall, message: bytes) -> bytes:
        raise asyncio.CancelledError

    async def metadata(self, call: RpcCall, message: bytes) -> bytes:
        return repr(call.head.metadata).encode()

    async def chat(self, call: RpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message

    async def deaf(self, call: RpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield await self.wait(call, message)

    async def broken_chat(self, call: RpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message
            raise RuntimeError("a secret of the server")


@dataclass
class Http2Wire:
    """A running server of `Service`."""

    address: tuple[str, int]
    server: GrpcServer
    service: Service
    loop: Any

    @property
    def target(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def soon(self, function: Callable[[], Any]) -> None:
        self.loop.call_soon_threadsafe(function)

    def run(self, function: Callable[[], Any]) -> Any:
        """In the loop of the server, so that nothing moves meanwhile."""

        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(SECONDS)


@contextlib.contextmanager
def serving() -> Iterator[Http2Wire]:
    sock = socket.create_server(("127.0.0.1", 0))
    loop = uvloop.new_event_loop()
    service = Service()
    server = GrpcServer(service.methods(), MAX_MESSAGE)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(sock), loop).result(SECONDS)
    try:
        yield Http2Wire(sock.getsockname(), server, service, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(SECONDS)
        wait_for(lambda: not server.connections and not server.tasks, seconds=SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        assert not thread.is_alive()
        loop.close()
        sock.close()
