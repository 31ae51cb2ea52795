"""Callers of a serve over V1, V2 and gRPC at once, and what they got."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from tests.serving import wait_for

REPLY_SECONDS = 30
PROTOCOLS = ("v1", "v2", "grpc")


@dataclass(frozen=True)
class Answered:
    """One request and what came of it."""

    at: float
    protocol: str
    answer: float | None
    """The number that the model gave; None if the request failed."""
    error: str = ""


@dataclass
class Traffic:
    """What the callers got so far."""

    answered: list[Answered] = field(default_factory=list)

    def since(self, moment: float) -> list[Answered]:
        return [one for one in self.answered if one.at >= moment]

    def failures(self) -> list[str]:
        first = self.answered[0].at if self.answered else 0
        return [
            f"{one.protocol} after {one.at - first:.1f} s: {one.error}" for one in self.answered if one.answer is None
        ]

    def shares(self, moment: float = 0) -> dict[float, float]:
        """Per cent of the answers since then by the number that the model gave."""
        counted = Counter(one.answer for one in self.since(moment) if one.answer is not None)
        return {answer: 100 * count / counted.total() for answer, count in sorted(counted.items())}

    def more(self, count: int, seconds: float = 300) -> float:
        """Waits for so many answers more; the moment at which it began."""
        began, before = time.monotonic(), len(self.answered)
        wait_for(lambda: len(self.answered) >= before + count, seconds=seconds)
        return began


@dataclass(frozen=True)
class Callers:
    """Send rows to a serve at an even rate, each protocol its part."""

    gateway: str
    host: str
    model: str
    row: list[float]
    rate: float = 45
    protocols: tuple[str, ...] = PROTOCOLS
    grpc_address: str = ""
    """Where gRPC is, if not at the gateway."""
    reconnects: bool = False
    """Whether each HTTP request has a connection of its own."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Host": self.host}

    async def v1(self, session: aiohttp.ClientSession) -> float:
        content = {"instances": [self.row]}
        reply = await self.post(session, f"/v1/models/{self.model}:predict", content)
        return float(reply["predictions"][0])

    async def v2(self, session: aiohttp.ClientSession) -> float:
        tensor = {"name": "input-0", "shape": [1, len(self.row)], "datatype": "FP64", "data": self.row}
        reply = await self.post(session, f"/v2/models/{self.model}/infer", {"inputs": [tensor]})
        return float(reply["outputs"][0]["data"][0])

    async def post(self, session: aiohttp.ClientSession, path: str, content: Any) -> Any:
        async with session.post(f"{self.gateway}{path}", json=content, headers=self.headers) as reply:
            text = await reply.text()
            if reply.status != 200:
                raise RuntimeError(f"{reply.status} {text[:200]}")
            return json.loads(text)

    async def grpc(self, stub: Any) -> float:
        request = pb.ModelInferRequest(model_name=self.model)
        tensor = request.inputs.add(name="input-0", datatype="FP64", shape=[1, len(self.row)])
        tensor.contents.fp64_contents.extend(self.row)
        reply = await stub.ModelInfer(request, timeout=REPLY_SECONDS)
        output = reply.outputs[0]
        values = output.contents.fp64_contents or output.contents.int64_contents
        return float(values[0])

    async def send(self, traffic: Traffic, stop: asyncio.Event) -> None:
        options = [("grpc.default_authority", self.host)]
        timeout = aiohttp.ClientTimeout(total=REPLY_SECONDS)
        address = self.grpc_address or urlsplit(self.gateway).netloc
        async with (
            aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(force_close=self.reconnects)
            ) as session,
            grpc.aio.insecure_channel(address, options) as channel,
        ):
            stub = pb_grpc.GRPCInferenceServiceStub(channel)
            calls: dict[str, Callable[[], Any]] = {
                "v1": lambda: self.v1(session),
                "v2": lambda: self.v2(session),
                "grpc": lambda: self.grpc(stub),
            }
            pending: set[asyncio.Task[None]] = set()
            number, began = 0, time.monotonic()
            while not stop.is_set():
                protocol = self.protocols[number % len(self.protocols)]
                task = asyncio.create_task(self.one(traffic, protocol, calls[protocol]))
                pending.add(task)
                task.add_done_callback(pending.discard)
                number += 1
                delay = began + number / self.rate - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(delay, 0))
            await asyncio.gather(*pending)

    async def one(self, traffic: Traffic, protocol: str, call: Callable[[], Any]) -> None:
        at = time.monotonic()
        try:
            answer, error = await call(), ""
        except grpc.aio.AioRpcError as failed:
            answer, error = None, f"{failed.code().name} {failed.details()} {failed.trailing_metadata()}"
        except Exception as failed:  # each is a request that somebody lost
            answer, error = None, f"{type(failed).__name__}: {failed}"
        traffic.answered.append(Answered(at, protocol, answer, error))


@contextlib.contextmanager
def calling(callers: Callers) -> Iterator[Traffic]:
    """Sends requests from a thread as long as the block lasts; every reply is waited for."""
    traffic, loop, stop = Traffic(), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(callers.send(traffic, stop)))
    thread.start()
    try:
        yield traffic
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
