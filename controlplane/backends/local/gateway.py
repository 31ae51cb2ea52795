"""`python -m controlplane.backends.local.gateway ROUTES`: the addresses of serves, kept while their processes change.

A process of its own, so that requests go on when the control plane ends. It reads the routes again on SIGHUP, and notes
beside them which version it follows. Bytes are passed on as they are, HTTP and gRPC alike, so that traffic is split by
connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from predictors.rest.descriptors import raise_limit

log = logging.getLogger("controlplane.gateway")

HOST = "127.0.0.1"
CHUNK = 1 << 16
CONNECT_SECONDS = 5.0
NOBODY = b'{"error":"no process of this serve is ready"}'
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-length: " + str(len(NOBODY)).encode() + b"\r\n\r\n" + NOBODY
)


class Gateway:
    def __init__(self, routes: Path) -> None:
        self.file = routes
        self.servers: dict[int, asyncio.Server] = {}
        self.listeners: dict[int, GatewayPort] = {}

    async def reload(self) -> None:
        """Listens on the ports in the file, and on no others."""
        content = json.loads(self.file.read_bytes())
        new = ports_of(content["routes"])
        self.listeners = {port: merged(self.listeners.get(port), each) for port, each in new.items()}
        for port in self.servers.keys() - self.listeners.keys():
            self.servers.pop(port).close()
        for port in self.listeners.keys() - self.servers.keys():
            try:
                self.servers[port] = await asyncio.start_server(self.accept, HOST, port, backlog=2048)
            except OSError as error:
                log.error("port %d: %s", port, error.strerror)
        note(self.file, content["version"])

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener = self.listeners.get(writer.get_extra_info("sockname")[1])
        inner = await connected(listener.order()) if listener is not None else None
        if inner is None:
            if listener is not None and listener.speaks_http:
                await refuse(reader, writer)
            writer.close()
            return
        inner_reader, inner_writer = inner
        requests = asyncio.create_task(relay(reader, inner_writer))
        await relay(inner_reader, writer)
        requests.cancel()
        inner_writer.close()
        writer.close()


class GatewayPort:
    """Whose connections go where: a smooth weighted round robin, so that few connections are split well too."""

    def __init__(self, weights: Mapping[int, int], speaks_http: bool) -> None:
        """`weights` are those of ports of processes."""
        self.weights, self.speaks_http = weights, speaks_http
        self.credit = dict.fromkeys(weights, 0)

    def order(self) -> list[int]:
        """The process whose turn it is, then those that can stand in for it."""
        for port, weight in self.weights.items():
            self.credit[port] += weight
        first = max(self.credit, key=self.credit.__getitem__, default=None)
        if first is None:
            return []
        self.credit[first] -= sum(self.weights.values())
        return [first, *(port for port in self.weights if port != first)]


def merged(old: GatewayPort | None, new: GatewayPort) -> GatewayPort:
    """The old one if its weights are the same: whose turn it is stays so."""
    return old if old is not None and old.weights == new.weights else new


async def connected(ports: Sequence[int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """A connection to the first process that takes one: nothing has been sent yet, so that nothing is lost."""
    for port in ports:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(HOST, port)
        except (OSError, TimeoutError):
            continue
    return None


def note(routes: Path, version: int) -> None:
    """Notes that this process follows a version of the routes; from then on it takes SIGHUP."""
    file = followed_file(routes)
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"pid": os.getpid(), "version": version}))
    new.replace(file)


def followed_file(routes: Path) -> Path:
    return routes.with_name("followed.json")


def ports_of(routes: Mapping[str, Any]) -> dict[int, GatewayPort]:
    ports: dict[int, GatewayPort] = {}
    for route in routes.values():
        for name, speaks_http in (("http_port", True), ("grpc_port", False)):
            weights = {each[name]: each["weight"] for each in route["processes"]}
            ports[route[name]] = GatewayPort(weights, speaks_http)
    return ports


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes bytes on until the reader's side ends, and then says so to the other side."""
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers an HTTP request for which there is nobody."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await reader.read(CHUNK)
            writer.write(UNAVAILABLE)
            await writer.drain()
    except (OSError, TimeoutError):
        pass


async def run(routes: Path) -> None:
    gateway = Gateway(routes)
    loop = asyncio.get_running_loop()
    changed, stop = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ended = asyncio.create_task(stop.wait())
    await gateway.reload()
    while not stop.is_set():
        waiting = asyncio.create_task(changed.wait())
        await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if changed.is_set():
            changed.clear()
            try:
                await gateway.reload()
            except OSError as error:  # connections go on, and whoever wrote the routes asks again
                log.error("the routes cannot be followed yet: %s", error.strerror)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    raise_limit()  # a connection takes two descriptors
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
