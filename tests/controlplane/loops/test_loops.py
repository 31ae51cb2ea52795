"""The threads: what is wanted is carried out, by one control plane at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from controlplane.backends.backend import Key
from controlplane.changes.context import ChangeContext
from controlplane.changes.deploy import deploy_model
from controlplane.decide import Instance
from controlplane.domain.environments import EnvironmentConfig
from controlplane.loops import loops as module
from controlplane.loops.loops import Loops
from controlplane.store import environments, operations, targets
from controlplane.store.database import Store
from controlplane.store.events import Actor
from tests.controlplane.memory_backend import MemoryBackend
from tests.controlplane.plane import HEALTHY
from tests.mlflow_kserve.served_plane import served_plane
from tests.serving import wait_for

KEY = Key("local", "fraud")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_INTERVAL", 0.05)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'a.db'}")
    made.migrate()
    with made.writing() as tx:
        environments.add(tx, 0.0, "local", EnvironmentConfig())
    yield made
    made.close()


def deployed(store: Store, backend: MemoryBackend, uri: str = "models:/fraud/1") -> str:
    """The operation of a deployment, which the loops have not been told of."""
    with store.writing() as tx:
        context = ChangeContext(tx, store.now(), Actor("test", "test"), lambda environment: backend)
        return deploy_model(context, {"serve_name": "fraud", "model_uri": uri, "env": "local"}).operation.id


def state(store: Store, operation: str) -> str:
    with store.reading() as tx:
        return operations.get(tx, operation).state


def test_one_of_two_acts_and_the_other_takes_over(store: Store, tmp_path: Path) -> None:
    backend = MemoryBackend(time.time)
    first, second = (Loops(store, lambda environment: backend, name, tmp_path) for name in ("first", "second"))
    first.start()
    wait_for(lambda: first.acts, seconds=20)
    second.start()
    operation = deployed(store, backend)
    second.mark(KEY)
    first.mark(KEY)
    wait_for(lambda: state(store, operation) == "SUCCEEDED", seconds=20)
    assert [call[0] for call in backend.calls] == ["apply", "split"]
    assert not second.acts
    first.close()
    wait_for(lambda: second.acts, seconds=20)
    backend.crash(KEY, 1)
    second.mark(KEY)
    wait_for(lambda: backend.instances[KEY][1].phase == "ready", seconds=20)
    second.close()


def test_what_was_wanted_before_the_start_is_carried_out(store: Store, tmp_path: Path) -> None:
    backend = MemoryBackend(time.time)
    operation = deployed(store, backend)
    loops = Loops(store, lambda environment: backend, "one", tmp_path)
    loops.start()
    wait_for(lambda: state(store, operation) == "SUCCEEDED", seconds=20)
    loops.close()


def test_what_nobody_wants_is_ended(store: Store, tmp_path: Path) -> None:
    backend = MemoryBackend(time.time)
    operation = deployed(store, backend)
    loops = Loops(store, lambda environment: backend, "one", tmp_path)
    orphan = Key("local", "orphan")
    with store.reading() as tx:
        assert operations.get(tx, operation).state == "RUNNING"
    backend.instances[orphan] = {1: Instance(1, "ready", 0.0)}
    loops.start()
    wait_for(lambda: not backend.instances[orphan], seconds=20)
    loops.close()


def test_a_serve_that_is_deleted_is_forgotten(tmp_path: Path) -> None:
    with served_plane(tmp_path) as plane, httpx.Client(base_url=f"{plane.url}/api/v1", timeout=60) as client:
        client.post("/serve/deploy-model", json={"serve_name": "fraud", "model_uri": HEALTHY, "env": "local"})
        client.get("/serve/fraud/status/local?wait=20")
        client.post("/serve/fraud/undeploy/local")
        client.get("/serve/fraud/status/local?wait=20")
        assert plane.backend.forgotten == []
        assert client.delete("/serve/fraud").status_code == 204
        wait_for(lambda: Key("local", "fraud") in plane.backend.forgotten, seconds=20)


def test_nothing_is_decided_while_the_back_end_is_away(store: Store, tmp_path: Path) -> None:
    backend = MemoryBackend(time.time)
    backend.away = True
    loops = Loops(store, lambda environment: backend, "one", tmp_path)
    loops.start()
    wait_for(lambda: loops.acts, seconds=20)
    operation = deployed(store, backend)
    loops.mark(KEY)
    wait_for(lambda: len(loops.queue) == 1, seconds=20)
    assert (state(store, operation), backend.calls) == ("RUNNING", [])
    backend.away = False
    wait_for(lambda: state(store, operation) == "SUCCEEDED", seconds=20)
    loops.close()


def test_the_loops_go_on_when_the_store_is_back(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend(time.time)
    loops = Loops(store, lambda environment: backend, "one", tmp_path)
    loops.start()
    wait_for(lambda: loops.acts, seconds=20)
    failures: list[str] = []

    def failing(*arguments: object) -> None:
        failures.append("read")
        raise OperationalError("SELECT", {}, Exception("the connection is gone"))

    monkeypatch.setattr(targets, "find", failing)
    loops.mark(KEY)
    wait_for(lambda: failures, seconds=20)
    monkeypatch.undo()
    operation = deployed(store, backend)
    wait_for(lambda: state(store, operation) == "SUCCEEDED", seconds=20)
    loops.close()


def test_a_full_disk_ends_no_thread(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend(time.time)
    failures: list[str] = []

    def full() -> None:
        failures.append("tend")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backend, "tend", full)
    loops = Loops(store, lambda environment: backend, "one", tmp_path)
    loops.start()
    wait_for(lambda: len(failures) > 1, seconds=20)
    operation = deployed(store, backend)  # which no look has seen yet
    monkeypatch.undo()
    wait_for(lambda: state(store, operation) == "SUCCEEDED", seconds=20)
    loops.close()
