"""A control plane within the test, with a back end that takes its own time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from controlplane.access.guard import CallerGuard
from controlplane.access.registry_webhook import RegistryWebhook
from controlplane.access.settings import ControlAccessSettings
from controlplane.api.app import build
from controlplane.api.control import Control
from controlplane.backends.backend import Backend, BackendAway, Key
from controlplane.domain.environments import EnvironmentConfig
from controlplane.loops.reconciler import Reconciler
from controlplane.store import environments, leases, operations, targets
from controlplane.store.database import Store
from controlplane.store.leases import Lease, this_process

SECONDS = 60
PAUSE = 0.02


class LivePlane:
    """Its loops act while somebody waits for something, and in the thread of the test."""

    def __init__(self, url: str, backend: Backend, env: str, environment: EnvironmentConfig) -> None:
        self.store = Store(url)
        self.store.migrate()
        self.backend, self.env = backend, env
        with self.store.writing() as tx:
            if environments.find(tx, env) is None:
                environments.add(tx, self.store.now(), env, environment)
        self.reconciler = Reconciler(self.store, lambda config: self.backend, self.lease)
        control = Control(
            self.store, lambda config: self.backend, CallerGuard(ControlAccessSettings(), self.store),
            lambda key: None, lambda: None, lambda: True, lambda: 0, self.reconciler.metrics.registry,
            RegistryWebhook(None, Path()), lambda: None,
        )  # fmt: skip
        self.client = TestClient(build(control), base_url="http://localhost/api/v1")

    def key(self, serve: str) -> Key:
        return Key(self.env, serve)

    def lease(self) -> Lease:
        with self.store.writing() as tx:
            lease = leases.acquire(tx, "loops", this_process(), self.store.now())
        assert lease is not None, "the one before has ended, so that its lease is free"
        return lease

    # -- requests -----------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, status: int = 202, **headers: str) -> Any:
        response = self.client.request(method, path, json=body, headers=headers)
        assert response.status_code == status, response.text
        return response.json() if "json" in response.headers.get("content-type", "") else response.text

    def get(self, path: str) -> Any:
        return self.send("GET", path, None, 200)

    def deploy(self, serve: str, uri: str, **fields: Any) -> Any:
        """deploy-model, and what follows."""
        body = {"serve_name": serve, "model_uri": uri, "env": self.env, "flavor": "sklearn", **fields}
        return self.settled(serve, self.send("POST", "/serve/deploy-model", body))

    def settled(self, serve: str, reply: Mapping[str, Any]) -> Any:
        """The operation of a reply, once it has ended and nothing is left over."""
        self.settle(serve)
        return self.get(f"/operation/{reply['operation']['id']}")

    def status(self, serve: str) -> Any:
        return self.get(f"/serve/{serve}/status/{self.env}")

    def events(self, serve: str) -> list[str]:
        return [each["action"] for each in self.get(f"/event?serve={serve}&limit=200")["items"]]

    # -- loops --------------------------------------------------------------------------------------------------

    def settle(self, serve: str) -> None:
        """Acts until nothing is under way and nothing is left over."""
        key, deadline = self.key(serve), time.monotonic() + SECONDS
        while (again_at := self.reconciler.reconcile(key)) is not None or self.under_way(serve):
            assert time.monotonic() < deadline, self.backend.observe(key)
            time.sleep(min(PAUSE, max((again_at or 0) - time.time(), 0)))

    def act_until(self, serve: str, condition: Any, seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            try:
                self.reconciler.reconcile(self.key(serve))
            except BackendAway:
                pass
            assert time.monotonic() < deadline, self.backend.observe(self.key(serve))
            time.sleep(PAUSE)

    def under_way(self, serve: str) -> bool:
        with self.store.reading() as tx:
            target = targets.find(tx, serve, self.env)
            return target is not None and target.operation is not None


def states(store: Store) -> Sequence[tuple[str, int | None, str]]:
    """The operations that there have been."""
    with store.reading() as tx:
        rows = tx.execute(operations.T.select().order_by(operations.T.c.created_at))
        return [(row.kind, row.revision, row.state) for row in rows]
