"""The addresses of serves, and the gateway process that listens on them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from controlplane.backends.backend import BackendAway, Key
from controlplane.backends.local.gateway import followed_file
from controlplane.backends.local.ports import HOST, PortRange
from controlplane.backends.local.processes import ProcessId, marked, python, spawn
from controlplane.backends.local.records import write_whole

FOLLOW_SECONDS = 10.0
"""How long the gateway may take to follow new routes, its start included."""


@dataclass(frozen=True, slots=True)
class WeightedProcess:
    """A process that answers, and its percent of the connections."""

    revision: int
    weight: int
    http_port: int
    grpc_port: int


@dataclass(frozen=True, slots=True)
class ServeRoute:
    """The ports of a serve, which it keeps, and the processes that answer."""

    http_port: int
    grpc_port: int
    processes: tuple[WeightedProcess, ...] = ()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.http_port}"

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> ServeRoute:
        processes = tuple(WeightedProcess(**each) for each in fields["processes"])
        return cls(fields["http_port"], fields["grpc_port"], processes)


class Routes:
    def __init__(self, folder: Path, mark: str) -> None:
        self.file, self.mark = folder / "routes.json", f"{mark}/gateway"
        self.lock = threading.RLock()
        self.process: ProcessId | None = None

    def everything(self) -> dict[str, ServeRoute]:
        return {name: ServeRoute.read(fields) for name, fields in self.content()["routes"].items()}

    def get(self, key: Key) -> ServeRoute | None:
        return self.everything().get(str(key))

    def ports(self) -> set[int]:
        return {port for route in self.everything().values() for port in (route.http_port, route.grpc_port)}

    def ensured(self, key: Key, ports: PortRange, used_ports: set[int]) -> ServeRoute:
        """The route of a serve, with ports of its own if it is new."""
        with self.lock:
            known = self.get(key)
            if known is not None:
                return known
            http_port, grpc_port = ports.free(2, used_ports | self.ports())
            route = ServeRoute(http_port, grpc_port)
            self.write(key, route)
            return route

    def split(self, key: Key, processes: Sequence[WeightedProcess]) -> None:
        """Splits the connections of a serve among processes, and waits until the gateway does so."""
        with self.lock:
            route = self.get(key)
            assert route is not None  # noqa: S101 - a process is started after its route is made
            self.write(key, replace(route, processes=tuple(processes)))

    def leave(self, key: Key, revision: int) -> None:
        """Sends nothing to a revision from now on; with nobody left, requests are answered with 503."""
        with self.lock:
            route = self.get(key)
            left = tuple(each for each in route.processes if each.revision != revision) if route is not None else ()
            if route is not None and left != route.processes:
                self.write(key, replace(route, processes=left))

    def remove(self, key: Key) -> None:
        """Gives the address of a serve back."""
        with self.lock:
            if self.get(key) is not None:
                self.write(key, None)

    def write(self, key: Key, route: ServeRoute | None) -> None:
        content = self.content()
        routes = {name: each for name, each in content["routes"].items() if name != str(key)}
        if route is not None:
            routes[str(key)] = asdict(route)
        write_whole(self.file, {"version": content["version"] + 1, "routes": routes})
        self.tend()

    def content(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.file.read_bytes()))
        except FileNotFoundError:
            return {"version": 0, "routes": {}}

    def tend(self) -> ProcessId | None:
        """The gateway, started if it does not run, once it follows the routes; None while there is nothing to route."""
        with self.lock:
            version = self.content()["version"]
            if version == 0:
                return None
            if self.process is None or not self.process.runs():
                self.process = marked(self.mark)
            if self.process is None:
                command = python("controlplane.backends.local.gateway", str(self.file))
                self.process = spawn(command, os.environ, self.mark, self.file.with_name("gateway.log"))
            self.wait_followed(self.process, version)
            return self.process

    def wait_followed(self, process: ProcessId, version: int) -> None:
        deadline = time.monotonic() + FOLLOW_SECONDS
        told = False
        while (followed := self.followed_by(process)) is None or followed < version:
            if followed is not None and not told:  # before, it reads the newest routes by itself
                process.signal(signal.SIGHUP)
                told = True
            if not process.runs() or time.monotonic() > deadline:
                raise BackendAway("the gateway does not follow its routes: see gateway.log in the data folder")
            time.sleep(0.002)

    def followed_by(self, process: ProcessId) -> int | None:
        """The version that the gateway follows; None before it has read any."""
        try:
            noted = json.loads(followed_file(self.file).read_bytes())
        except FileNotFoundError:
            return None
        return int(noted["version"]) if noted["pid"] == process.pid else None
