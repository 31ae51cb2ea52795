"""The gate before gRPC calls: callers without access cannot make the server receive a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from predictors.access.gate import Gate
from predictors.access.jwts import KeysWanted
from predictors.grpc.transport.calls import GrpcServer
from predictors.grpc.transport.methods import Abort, Method, RpcCall
from predictors.protocol.errors import RequestError

Refusal: TypeAlias = Callable[[RequestError], Abort]

PROBES = {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "Check", "Watch"}
PAGES = {"ModelMetadata", "ServerReflectionInfo"}


def kind_of(path: str) -> str:
    """The kind of a method, as for HTTP routes; methods in no list are for operators."""
    name = path.rpartition("/")[2]
    return "predict" if name == "ModelInfer" else "probe" if name in PROBES else "page" if name in PAGES else "admin"


def guard_methods(server: GrpcServer, gate: Gate, refusal: Refusal) -> None:
    kinds = {path: kind_of(path) for path in server.methods}

    def guard(call: RpcCall) -> None:
        try:
            gate.admit(kinds[call.head.path], call.headers, call.peer)
        except KeysWanted:
            return  # the method waits for the keys
        except RequestError as error:
            raise refusal(error) from None
        call.admitted = True

    async def wait(call: RpcCall) -> None:
        if not call.admitted:
            try:
                await gate.let_in(kinds[call.head.path], call.headers, call.peer)
            except RequestError as error:
                raise refusal(error) from None

    server.guard = guard
    server.methods = {path: guarded(method, wait) for path, method in server.methods.items()}


def guarded(method: Method, wait: Callable[[RpcCall], Awaitable[None]]) -> Method:
    unary, streaming, quick = method.unary, method.streaming, method.quick

    async def answer(call: RpcCall, message: bytes) -> bytes:
        await wait(call)
        return await unary(call, message)  # type: ignore[misc]  # only where there is one

    async def stream(call: RpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        await wait(call)
        async for reply in streaming(call, messages):  # type: ignore[misc]
            yield reply

    def answer_quickly(call: RpcCall, message: bytes) -> None:
        if call.admitted:
            quick(call, message)  # type: ignore[misc]
        else:
            call.pass_on(message)

    return replace(method, unary=unary and answer, streaming=streaming and stream, quick=quick and answer_quickly)
