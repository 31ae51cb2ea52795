"""A control plane within the test: its real API and store, a clock that the test moves, and a back end in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2  # what the test client answers with
from fastapi.testclient import TestClient

from controlplane.access.guard import CallerGuard
from controlplane.access.registry_webhook import RegistryWebhook
from controlplane.access.settings import ControlAccessSettings
from controlplane.api.app import build
from controlplane.api.control import Control
from controlplane.backends.backend import Key
from controlplane.domain.environments import EnvironmentConfig
from controlplane.loops.artifacts import ArtifactFetcher
from controlplane.loops.reconciler import Reconciler
from controlplane.store import environments, leases, targets
from controlplane.store.database import Store
from controlplane.store.leases import FencedOff, Lease
from tests.controlplane.memory_backend import MemoryBackend

START = 1_800_000_000.0
HEALTHY = "models:/fraud/1"


class MovedClock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


class Plane:
    def __init__(self, folder: Path, access: ControlAccessSettings | None = None, url: str | None = None) -> None:
        self.clock = MovedClock()
        self.store = Store(url or f"sqlite:///{folder / 'plane.db'}", self.clock)
        self.store.migrate()
        with self.store.writing() as tx:
            if environments.find(tx, "local") is None:
                environments.add(tx, self.clock(), "local", EnvironmentConfig())
        self.backend = MemoryBackend(self.clock)
        self.reconciler = Reconciler(self.store, lambda environment: self.backend, self.lease)
        self.control = Control(
            self.store, lambda environment: self.backend, CallerGuard(access or ControlAccessSettings(), self.store),
            lambda key: None, lambda: None, lambda: True, lambda: 0, self.reconciler.metrics.registry,
            RegistryWebhook(None, folder), lambda: None, self.reconciler.last_seen.get,
        )  # fmt: skip
        self.artifacts = ArtifactFetcher(self.store, folder / "artifacts", folder / "secrets", self.lease)
        self.client = TestClient(build(self.control), base_url="http://localhost/api/v1", raise_server_exceptions=False)

    def lease(self) -> Lease:
        with self.store.writing() as tx:
            lease = leases.acquire(tx, "loops", "the test", self.clock())
        if lease is None:
            raise FencedOff("another control plane acts")
        return lease

    def keys(self) -> list[Key]:
        with self.store.reading() as tx:
            wanted = {Key(target.env, target.serve) for target in targets.everything(tx)}
        return sorted(wanted | set(self.backend.keys()))

    def step(self) -> float | None:
        """What the loops do now, for all keys; when they would see again."""
        times = [self.reconciler.reconcile(key) for key in self.keys()]
        return min((time for time in times if time is not None), default=None)

    def settle(self, seconds: float = 2000.0, stride: float = 5.0) -> None:
        """Lets the loops act until nothing is left to do, and the time pass until then."""
        end = self.clock() + seconds
        while (again_at := self.step()) is not None and max(again_at, self.clock()) <= end:
            self.clock.time = max(again_at, self.clock() + stride)  # a revision that starts is seen to often

    # -- requests -----------------------------------------------------------------------------------------------

    def get(self, path: str, **options: Any) -> Any:
        response = self.client.get(path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return self.client.request(method, path, json=body, **options)

    def post(self, path: str, body: Any = None, status: int = 202, **options: Any) -> Any:
        return answered(self.send("POST", path, body, **options), status)

    def patch(self, path: str, body: Any, status: int = 200, **options: Any) -> Any:
        return answered(self.send("PATCH", path, body, **options), status)

    def deploy(self, serve: str = "fraud", uri: str = HEALTHY, env: str = "local", **fields: Any) -> Any:
        """deploy-model, and what follows."""
        reply = self.post("/serve/deploy-model", {"serve_name": serve, "model_uri": uri, "env": env, **fields})
        self.settle()
        return reply

    def status(self, serve: str = "fraud", env: str = "local") -> Mapping[str, Any]:
        return dict(self.get(f"/serve/{serve}/status/{env}"))

    def operation(self, reply: Mapping[str, Any]) -> Any:
        return self.get(f"/operation/{reply['operation']['id']}")


def answered(response: httpx2.Response, status: int) -> Any:
    assert response.status_code == status, response.text
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"
    return response.json() if response.content else None


@contextmanager
def opened(folder: Path, access: ControlAccessSettings | None = None, url: str | None = None) -> Iterator[Plane]:
    plane = Plane(folder, access, url)
    try:
        yield plane
    finally:
        plane.store.close()
