"""Open-loop load, at a rate that does not depend on the server, and closed-loop load, one request after the other.

Latency counts from when a request was due, not from when it could be sent: otherwise waiting would not be counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SLEEP_SECONDS = 0.001
DRAIN_SECONDS = 15.0  # to wait for responses after the end
MAX_CONNECTIONS = 4000


@dataclass(slots=True)
class OpenLoopResult:
    """Latencies in seconds by status; wrong results and lost connections are statuses too."""

    seconds: float = 0.0
    offered: int = 0
    latencies: dict[str, list[float]] = field(default_factory=dict)
    ended: dict[str, list[float]] = field(default_factory=dict)
    """When responses arrived, in seconds from the start."""
    without_hint: int = 0
    """Refusals without Retry-After."""

    def note(self, status: str, due: float, began: float) -> None:
        now = time.perf_counter()
        self.latencies.setdefault(status, []).append(now - due)
        self.ended.setdefault(status, []).append(now - began)

    def count(self, status: str) -> int:
        return len(self.latencies.get(status, ()))

    def rate(self, status: str, skip: float = 0.0) -> float:
        """Responses per second while requests were offered, without the first `skip` seconds."""
        times = [one for one in self.ended.get(status, ()) if skip <= one <= self.seconds]
        return len(times) / (self.seconds - skip)

    def percentile(self, status: str, share: float) -> float:
        latencies = sorted(self.latencies.get(status, ()))
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))] if latencies else float("nan")


class OpenLoopConnection(asyncio.Protocol):
    """One connection with one request in flight at a time."""

    def __init__(self, free: Callable[[OpenLoopConnection], None], lost: Callable[[OpenLoopConnection], None]) -> None:
        self.free, self.lost = free, lost
        self.buffer = b""
        self.transport: Any = None
        self.done: Callable[[str, dict[str, str], bytes], None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, data: bytes, done: Callable[[str, dict[str, str], bytes], None]) -> None:
        self.done = done
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if len(rest) < int(headers["content-length"]):
            return
        self.buffer = b""
        done, self.done = self.done, None
        if done is not None:
            done(lines[0].split()[1], headers, rest)
        if headers.get("connection") == "close":
            self.transport.close()
        else:
            self.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        done, self.done = self.done, None
        if done is not None:
            done("lost", {}, b"")
        self.lost(self)


class OpenLoopHttpClient:
    def __init__(self, port: int, path: str, max_connections: int = MAX_CONNECTIONS) -> None:
        self.port, self.path, self.max_connections = port, path, max_connections
        self.idle: deque[OpenLoopConnection] = deque()
        self.open: set[OpenLoopConnection] = set()

    async def ask(self, value: float) -> tuple[str, dict[str, str]]:
        """The status of one request; "wrong" for a 200 with a wrong result."""
        body = json.dumps({"instances": [{"x": value}]}).encode()
        head = f"POST {self.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        status, headers, content = await self.send(head.encode() + b"\r\n\r\n" + body)
        if status == "200" and json.loads(content)["predictions"] != [value]:
            status = "wrong"
        return status, headers

    async def get(self, path: str) -> str:
        return (await self.send(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()))[0]

    async def send(self, data: bytes) -> tuple[str, dict[str, str], bytes]:
        while self.idle and self.idle[-1].transport.is_closing():
            self.idle.pop()
        if self.idle:
            connection = self.idle.pop()
        elif len(self.open) >= self.max_connections:
            return "no connection", {}, b""
        else:
            loop = asyncio.get_running_loop()
            try:
                _, connection = await loop.create_connection(
                    lambda: OpenLoopConnection(self.idle.append, self.open.discard), "127.0.0.1", self.port
                )
            except OSError:
                return "refused connection", {}, b""
            self.open.add(connection)
        response: asyncio.Future[tuple[str, dict[str, str], bytes]] = asyncio.get_running_loop().create_future()

        def resolve(status: str, headers: dict[str, str], content: bytes) -> None:
            if not response.done():
                response.set_result((status, headers, content))

        connection.send(data, resolve)
        return await response

    async def close(self) -> None:
        for connection in list(self.open):
            connection.transport.close()


class OpenLoopGrpcClient:
    def __init__(self, port: int, name: str, messages: Any = None) -> None:
        """`messages` are classes of the protocol that the process has registered already: protobuf takes one set."""
        import grpc

        if messages is None:
            from tritonclient.grpc import service_pb2

            messages = service_pb2
        self.messages, self.name = messages, name
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.infer = self.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )

    async def ask(self, value: float) -> tuple[str, dict[str, str]]:
        import grpc

        request = self.messages.ModelInferRequest(model_name=self.name)
        tensor = request.inputs.add(name="x", datatype="FP64", shape=[1])
        tensor.contents.fp64_contents.append(value)
        try:
            response = await self.infer(request)
        except grpc.aio.AioRpcError as error:
            return error.code().name, {}
        output = response.outputs[0]
        return "200" if list(output.contents.fp64_contents) == [value] else "wrong", {}

    async def close(self) -> None:
        await self.channel.close()


async def closed_loop(client: Any, callers: int, seconds: float) -> OpenLoopResult:
    """Each caller sends its next request when it has the response."""
    outcome, began = OpenLoopResult(seconds), time.perf_counter()

    async def call(caller: int) -> None:
        while (due := time.perf_counter()) < began + seconds:
            outcome.offered += 1
            status, headers = await client.ask(float(caller))
            outcome.note(status, due, began)
            outcome.without_hint += status == "503" and "retry-after" not in headers

    await asyncio.gather(*(call(number) for number in range(callers)))
    return outcome


async def open_loop(client: Any, rate: float, seconds: float, watch: Callable[[], object] = object) -> OpenLoopResult:
    """Sends `rate` requests per second, whatever the responses; calls `watch` twice a second."""
    outcome, began = OpenLoopResult(seconds), time.perf_counter()
    tasks: set[asyncio.Task[None]] = set()
    watched = 0.0

    async def call(number: int, due: float) -> None:
        status, headers = await client.ask(float(number % 100))
        outcome.note(status, due, began)
        outcome.without_hint += status == "503" and "retry-after" not in headers

    while (now := time.perf_counter() - began) < seconds:
        while outcome.offered < now * rate:
            task = asyncio.create_task(call(outcome.offered, began + outcome.offered / rate))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            outcome.offered += 1
        if now - watched > 0.5:
            watched = now
            watch()
        await asyncio.sleep(SLEEP_SECONDS)
    if tasks:
        await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
    for task in list(tasks):
        task.cancel()
        outcome.note("no reply", began + seconds, began)
    return outcome
