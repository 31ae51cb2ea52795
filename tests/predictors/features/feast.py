"""Feast for tests: repositories, feature servers and Redis, each in its own process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from loadtest.peers.ports import free_port
from predictors.features.library import feast
from predictors.features.store import Catalogue, FeatureStore
from tests.serving import wait_for

S = TypeVar("S", bound=FeatureStore)
with pytest.MonkeyPatch.context() as patch:
    if "torch" not in sys.modules:
        patch.setitem(sys.modules, "torch", None)  # Feast would import PyTorch, for nothing that is tested here
    FeastStore = feast().FeatureStore
    """Imported before other tests import Feast: processes that they start must not inherit its variables."""


class FeatureServer:
    """`feast serve`; it can be stopped, paused, and started again at the same address."""

    def __init__(self, repository: Path, log_file: Path) -> None:
        self.repository = repository
        self.log_file = log_file
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = Path(sys.executable).with_name("feast")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-c", self.repository, "serve", "-h", "127.0.0.1", "-p", str(self.port)],
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.repository,
            )  # fmt: skip
        wait_for(self.is_healthy, lambda: self.process.poll() is not None and self.log_file.read_text()[-2000:])

    def is_healthy(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health").status_code == 200
        return False

    def send(self, number: int) -> None:
        """Sends a signal to the server and its workers."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def end(self) -> None:
        if self.process is not None:
            self.send(signal.SIGKILL)
            self.process.wait(30)
            self.process = None


@contextlib.asynccontextmanager
async def opened(store: S) -> AsyncIterator[S]:
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def names_of(catalogue: Catalogue) -> list[str]:
    return [feature.full_name for feature in catalogue.features]


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Debian's redis-server, without persistence."""
    port = free_port()
    program = shutil.which("redis-server")
    assert program is not None
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(lambda: listens(port), lambda: process.poll() is not None and (folder / "redis.log").read_text())
        yield port, process
    finally:
        process.kill()
        process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def copied(repository: Path, target: Path) -> Path:
    """A copy that a test may change or break."""
    shutil.copytree(repository, target)
    return target


def feast_values(repository: Path, service: str, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The values that Feast itself returns, by short name."""
    store = FeastStore(repo_path=str(repository))
    values: dict[str, list[Any]] = store.get_online_features(store.get_feature_service(service), rows).to_dict()
    return values
