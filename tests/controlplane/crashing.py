"""A control plane that deploys, changes and undeploys, and may be ended at a failpoint: `crashing.py DATA FIRST_PORT`.

Started again, it repeats its requests with the same keys, as a client does that got no reply.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from controlplane.access.guard import CallerGuard
from controlplane.access.settings import ControlAccessSettings
from controlplane.api.app import build
from controlplane.api.control import Control
from controlplane.backends.backend import Key
from controlplane.backends.local import backend as local
from controlplane.backends.local.backend import LocalBackend
from controlplane.backends.local.ports import PortRange
from controlplane.cli import ensure_local
from controlplane.domain.revisions import Content
from controlplane.loops.reconciler import Reconciler
from controlplane.store import leases, operations, targets
from controlplane.store.database import Store
from controlplane.store.leases import Lease, this_process

KEY = Key("local", "fraud")
DEPLOY = "/serve/deploy-model"
BODY = {"serve_name": "fraud", "env": "local"}
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    (DEPLOY, {**BODY, "model_uri": "models:/fraud/1"}),
    (DEPLOY, {**BODY, "model_uri": "models:/fraud/2"}),
    ("/serve/undeploy-model", BODY),
)
STEP_SECONDS = 60


def quick_command(serve: str, content: Content, http_port: int, grpc_port: int) -> list[str]:
    return [sys.executable, "-S", "-E", str(Path(__file__).with_name("quick_server.py")), str(http_port)]


class Crashing:
    def __init__(self, data: Path, first_port: int) -> None:
        vars(local)["command"] = quick_command
        self.store = Store(f"sqlite:///{data / 'controlplane.db'}")
        self.store.migrate()
        ensure_local(self.store)
        self.backend = LocalBackend(data, PortRange(first_port, first_port + 200))
        self.reconciler = Reconciler(self.store, lambda environment: self.backend, self.lease)
        guard = CallerGuard(ControlAccessSettings(), self.store)
        control = Control(
            self.store, lambda config: self.backend, guard, lambda key: None, lambda: None, lambda: True, lambda: 0,
            self.reconciler.metrics.registry,
        )  # fmt: skip
        self.client = TestClient(build(control), base_url="http://localhost/api/v1")

    def lease(self) -> Lease:
        with self.store.writing() as tx:
            lease = leases.acquire(tx, "loops", this_process(), self.store.now())
        assert lease is not None, "the one before has ended, so that its lease is free"
        return lease

    def run(self) -> None:
        self.backend.tend()
        self.settle()
        for number, (path, body) in enumerate(REQUESTS):
            response = self.client.post(path, json=body, headers={"idempotency-key": f"request {number}"})
            assert response.status_code == 202, response.text
            self.settle()
        self.backend.tend()

    def settle(self) -> None:
        """Acts until nothing is under way and nothing is left over."""
        deadline = time.monotonic() + STEP_SECONDS
        while (again_at := self.reconciler.reconcile(KEY)) is not None or self.under_way():
            assert time.monotonic() < deadline, self.backend.observe(KEY)
            time.sleep(min(0.02, max((again_at or 0) - time.time(), 0)))

    def under_way(self) -> bool:
        with self.store.reading() as tx:
            target = targets.find(tx, KEY.serve, KEY.env)
            return target is not None and target.operation is not None


def states(store: Store) -> Sequence[tuple[str, int | None, str]]:
    """The operations that there have been."""
    with store.reading() as tx:
        rows = tx.execute(operations.T.select().order_by(operations.T.c.created_at))
        return [(row.kind, row.revision, row.state) for row in rows]


if __name__ == "__main__":
    Crashing(Path(sys.argv[1]), int(sys.argv[2])).run()
