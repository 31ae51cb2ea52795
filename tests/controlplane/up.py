"""`mlflow-kserve up` as a process, with serves as processes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from controlplane.backends.local.backend import LocalBackend
from controlplane.backends.local.ports import PortRange
from controlplane.backends.local.processes import MARK
from loadtest.peers.ports import free_port
from tests import spawner
from tests.serving import answers, wait_for
from tests.spawner import Forked

SECONDS = 120


@dataclass
class Up:
    """A control plane that is up."""

    url: str
    data: Path
    process: Forked
    client: httpx.Client

    def get(self, path: str) -> Any:
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any = None, status: int = 202) -> Any:
        response = self.client.post(path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    def deploy(self, uri: Path, serve: str = "machines", **fields: Any) -> Any:
        return self.post(
            "/serve/deploy-model", {"serve_name": serve, "model_uri": str(uri), "env": "local", **fields}
        )  # fmt: skip

    def status(self, serve: str = "machines", wait: int = SECONDS) -> Mapping[str, Any]:
        return dict(self.get(f"/serve/{serve}/status/local?wait={wait}"))

    def wait_ready(self, serve: str = "machines") -> Mapping[str, Any]:
        wait_for(lambda: self.status(serve, 0)["status"] == "READY", seconds=SECONDS)
        return self.status(serve, 0)


@contextlib.contextmanager
def up(data: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Up]:
    """A control plane, until the end of the block; its serves go on."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    first = free_port()
    arguments = ["up", "--data", str(data), "--port", str(port)]
    arguments += ["--serve-ports", f"{first}-{min(first + 2000, 32000)}", *flags]
    data.mkdir(exist_ok=True)
    with (data / "up.log").open("ab") as log:
        process = spawner.start("mlflow_kserve", *arguments, output=log, env={**os.environ, **(env or {})})
    try:
        with httpx.Client(base_url=f"{url}/api/v1", timeout=SECONDS + 10) as client, httpx.Client(base_url=url) as root:
            wait_for(
                lambda: answers(root, "/healthcheck") == 200,
                lambda: process.poll() is not None and (data / "up.log").read_text(),
            )
            yield Up(url, data, process, client)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()


@contextlib.contextmanager
def cleaned(data: Path) -> Iterator[None]:
    """No process of the folder outlives the block."""
    try:
        yield
    finally:
        for process in processes_of(data):
            process.kill()


def processes_of(data: Path) -> list[psutil.Process]:
    """The processes that bear the mark of a data folder: serves, their children, and the gateway."""
    mark = LocalBackend(data, PortRange()).mark
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK, "").startswith(f"{mark}/") and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes


def servers_of(data: Path) -> list[psutil.Process]:
    """The servers among them."""
    return [process for process in processes_of(data) if "predictors.mlflow" in process.cmdline()]
