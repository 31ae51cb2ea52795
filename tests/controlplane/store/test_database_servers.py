"""The same store on PostgreSQL and on MariaDB: its migrations, its rules, and requests that meet."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, event, inspect, update
from sqlalchemy.exc import DBAPIError

from controlplane.store import followed, leases, tables
from controlplane.store.database import Store
from tests.controlplane.mariadb import is_installed, mariadb
from tests.controlplane.plane import HEALTHY, Plane, opened
from tests.controlplane.postgres import postgres, programs

SERVERS = {"postgres": postgres, "mariadb": mariadb}
INSTALLED = {"postgres": programs() is not None, "mariadb": is_installed()}


@pytest.fixture(scope="module", params=SERVERS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if not INSTALLED[request.param]:
        pytest.skip(f"{request.param} is not installed")
    with SERVERS[request.param]() as made:
        yield made


@pytest.fixture
def shared(url: str, tmp_path: Path) -> Iterator[Plane]:
    with opened(tmp_path, url=url) as plane:
        yield plane
        plane.store.migrate_back()


def test_migrations(url: str) -> None:
    store = Store(url)
    store.migrate()
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    store.migrate_back()
    assert inspect(store.engine).get_table_names() == ["alembic_version"]
    store.close()


class CutOff(Exception):
    pass


@pytest.mark.parametrize("statements", [1, 5, 17, 19, 27])
def test_a_migration_that_was_cut_off_is_carried_on(url: str, statements: int) -> None:
    """After so many changes of tables; where they are transactions nothing is left of them."""
    store = Store(url)
    left = [statements]

    def cut(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        left[0] -= statement.lstrip().startswith(("CREATE", "ALTER TABLE"))
        if left[0] == 0:
            left[0] = -1
            raise CutOff

    event.listen(store.engine, "after_cursor_execute", cut)
    with pytest.raises(CutOff):
        store.migrate()
    event.remove(store.engine, "after_cursor_execute", cut)
    store.migrate()
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    store.migrate_back()
    store.close()


def test_a_story(shared: Plane) -> None:
    shared.deploy(cores=2)
    shared.patch("/serve/fraud/infra-config/local", {"cores": 4}, 202)
    shared.settle()
    shared.backend.broken.add("models:/fraud/9")
    shared.deploy(uri="models:/fraud/9")
    shared.post("/serve/fraud/rollback", {"env": "local", "revision": 1})
    shared.settle()
    status = shared.status()
    assert (status["status"], status["revision"], status["model_uri"]) == ("READY", 4, HEALTHY)
    listed = shared.get("/serve/fraud/deployments")["items"]
    assert [each["status"] for each in listed] == ["ACTIVE", "FAILED", "ENDED", "ENDED"]
    shared.deploy(follow="rollout")
    with shared.store.reading() as tx:
        assert [(each.serve, each.uri, each.named) for each in followed.everything(tx)] == [("fraud", HEALTHY, None)]
    shared.post("/serve/undeploy-model", {"serve_name": "fraud", "env": "local"})
    shared.settle()
    assert shared.send("DELETE", "/serve/fraud").status_code == 204
    assert len(shared.get("/event?limit=200")["items"]) > 10


def test_what_never_changes(shared: Plane) -> None:
    shared.deploy()
    for statement in (
        update(tables.revision).values(reason="another"), update(tables.event).values(actor="nobody"),
        delete(tables.event),
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="never changes|only added"), shared.store.writing() as tx:
            tx.execute(statement)


def test_requests_that_meet_make_one_change(shared: Plane) -> None:
    body = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "local"}
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: shared.send("POST", "/serve/deploy-model", body).status_code, range(8)))
    assert sorted(statuses) == [202, *[409] * 7]
    shared.settle()
    assert shared.status()["revision"] == 1


def test_one_of_many_gets_the_lease(shared: Plane) -> None:
    def acquire(holder: int) -> bool:
        with shared.store.writing() as tx:
            return leases.acquire(tx, "one", f"holder {holder}", 1000.0) is not None

    assert acquire(99)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(acquire, range(8))) == [False] * 8


def test_names_that_it_cannot_store(shared: Plane) -> None:
    """MariaDB can store this one, and has none of that name."""
    assert shared.send("GET", "/serve/%00").status_code in (404, 422)


def test_names_and_keys_are_bytes(shared: Plane) -> None:
    """Small letters and capitals differ, and every character is kept."""
    description = "Scores für Zahlungen 🚀"
    for key in ("a", "A"):
        shared.post(
            "/serve",
            {"name": f"fraud-{key.lower()}{ord(key)}", "description": description},
            201,
            headers={"idempotency-key": key},
        )
    for version in ("v1", "V1"):
        shared.post(
            "/artifact",
            {"serve_name": "fraud-a97", "version": version, "model_uri": f"models:/fraud/{ord(version[0])}"},
            201,
        )
    assert shared.get("/artifact/fraud-a97/V1")["model_uri"] == "models:/fraud/86"
    assert {each["description"] for each in shared.get("/serve")["items"]} == {description}
