"""Real predictor servers for tests: as a process of their own, or in a thread of this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvloop

from loadtest.peers.ports import free_port
from predictors.features.library import FEAST_VARIABLES
from predictors.pipeline.settings import Settings
from predictors.processes.ports import bound_ports
from predictors.processes.shared_state import SharedState
from predictors.server import Server
from tests import spawner
from tests.spawner import Forked

START_SECONDS = 90
DRAIN = 5


@dataclass
class Running:
    """A server that is up; `url` and `grpc` say where."""

    url: str
    grpc: str
    name: str
    client: httpx.Client
    grpc_options: tuple[tuple[str, str], ...] = ()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.client.post(path, json=json, **options)

    def predict(self, payload: Any) -> httpx.Response:
        return self.post(f"/v1/models/{self.name}:predict", payload)

    def infer(self, payload: Any) -> httpx.Response:
        return self.post(f"/v2/models/{self.name}/infer", payload)


@contextlib.contextmanager
def in_thread(
    model: Path | str | None, *, client_options: Mapping[str, Any] | None = None, **settings: Any
) -> Iterator[Running]:
    """Serves a model from a thread: the same server, front and gRPC, without the cost of a process."""
    settings.setdefault("grace_period", DRAIN)
    settings.setdefault("engine", os.environ.get("MLFLOW_KSERVE_ENGINE", "auto"))  # all tests with another engine
    settings.setdefault("grpc_server", os.environ.get("MLFLOW_KSERVE_GRPC_SERVER", "own"))
    server_settings = Settings(
        model_uri=None if model is None else str(model), host="127.0.0.1", http_port=0, grpc_port=0, **settings,
    )  # fmt: skip
    ports = bound_ports(server_settings)
    loop = uvloop.new_event_loop()
    stop = asyncio.Event()
    shared = SharedState(1)
    result: list[int | BaseException] = []

    def run() -> None:
        try:
            result.append(loop.run_until_complete(Server(server_settings).serve(ports, stop, shared)))
        except BaseException as error:  # shown by the test that waits for it
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    url = f"{'https' if server_settings.ssl_certfile else 'http'}://127.0.0.1:{ports.http_port}"
    try:
        with httpx.Client(base_url=url, timeout=60, **(client_options or {})) as client:
            wait_ready(client, lambda: not thread.is_alive() and f"the server ended: {result}")
            yield Running(url, f"127.0.0.1:{ports.grpc_port}", server_settings.model_name, client)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(server_settings.grace_period + 20)
        ports.close()
        shared.close()
        assert not thread.is_alive(), "the server did not stop"
        if not any(isinstance(one, BaseException) for one in result):
            loop.close()  # with what a server left open that broke off, it would wait for ever


@dataclass
class Process:
    """A server process and what it writes."""

    running: Running
    process: subprocess.Popen[bytes] | Forked
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def terminate(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def command(*flags: str, module: str = "predictors.mlflow") -> list[str]:
    return [sys.executable, "-m", module, "--host", "127.0.0.1", *flags]


@contextlib.contextmanager
def process(
    folder: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    module: str = "predictors.mlflow",
    ready: bool = True,
    cold: bool = False,
) -> Iterator[Process]:
    """A server; `folder` takes its log. With `ready` it waits until the model is; a `cold` one imports all it needs."""
    http, grpc = free_port(), free_port()
    log_file = folder / "server.log"
    ports = ("--http-port", str(http), "--grpc-port", str(grpc))
    # Feast sets these in the tests' own process when it is imported; servers would then share their metrics.
    own = {name: value for name, value in os.environ.items() if name not in FEAST_VARIABLES}
    variables = {**own, **(env or {})}
    started: subprocess.Popen[bytes] | Forked
    with log_file.open("wb") as log:
        if cold or sys.platform != "linux":
            started = subprocess.Popen(
                command(*ports, *flags, module=module), stdout=log, stderr=subprocess.STDOUT, env=variables
            )
        else:
            started = spawner.start(module, "--host", "127.0.0.1", *ports, *flags, output=log, env=variables)
    url = f"http://127.0.0.1:{http}"
    name = flags[flags.index("--model-name") + 1] if "--model-name" in flags else "model"
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            server = Process(Running(url, f"127.0.0.1:{grpc}", name, client), started, log_file)
            if ready:
                wait_ready(client, lambda: started.poll() is not None and f"ended with {started.poll()}: {server.log}")
            yield server
    finally:
        if started.poll() is None:
            started.terminate()
        try:
            started.wait(30)
        finally:
            started.kill()


cold_process = partial(process, cold=True)
"""A server as people start it, for tests of the start itself."""


def wait_ready(client: httpx.Client, failed: Any) -> None:
    wait_for(lambda: answers(client, "/v2/health/ready") == 200, failed)


def answers(client: httpx.Client, path: str) -> int | None:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return None


def wait_for(condition: Any, failed: Any = lambda: False, seconds: float = START_SECONDS) -> None:
    """Waits on a condition, not on a time."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not condition():
        reason = failed()
        assert not reason, reason
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(pause)
        pause = min(1.2 * pause, 0.1)  # what takes long is asked for less often: to ask takes its time, too


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(server: Process) -> list[int]:
    return [one.pid for one in psutil.Process(server.process.pid).children() if one.status() != psutil.STATUS_ZOMBIE]
