"""The migrations: they make the tables that the code reads, from nothing and back, with and without rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from controlplane.domain.environments import EnvironmentConfig
from controlplane.store import environments
from controlplane.store.database import Store, UnusableDatabase
from controlplane.store.tables import metadata
from tests.controlplane.plane import opened


def tables_in(store: Store) -> set[str]:
    return set(inspect(store.engine).get_table_names())


def test_they_make_what_the_code_reads(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    store.migrate()
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_up_down_and_up_again(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    store.migrate()
    store.migrate()
    store.migrate_back()
    assert tables_in(store) == {"alembic_version"}
    store.migrate()
    assert set(metadata.tables) <= tables_in(store)


def test_down_from_a_filled_database(tmp_path: Path) -> None:
    with opened(tmp_path) as plane:
        plane.deploy()
        plane.patch("/serve/fraud/infra-config/local", {"cores": 2}, 202)
        plane.store.migrate_back()
        assert tables_in(plane.store) == {"alembic_version"}
        plane.store.migrate()
        with plane.store.writing() as tx:
            environments.add(tx, 0.0, "local", EnvironmentConfig())
        plane.settle()
        plane.deploy()
        assert plane.status()["status"] == "READY"


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    with store.engine.begin() as connection:
        connection.execute(text("CREATE TABLE event (id INTEGER)"))
    with pytest.raises(UnusableDatabase, match="tables of something else: event"):
        store.migrate()
    assert tables_in(store) == {"event"}


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    store.migrate()
    with store.writing() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnusableDatabase, match="revision 9999, which this version does not know"):
        store.migrate()
    assert set(metadata.tables) <= tables_in(store)


def test_half_a_migration_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's migrations are transactions."""
    from alembic import op

    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    create = op.create_table
    names: list[str] = []

    def failing(name: str, *columns: object, **options: object) -> object:
        names.append(name)
        if len(names) == 3:
            raise RuntimeError("the machine goes down")
        return create(name, *columns, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(op, "create_table", failing)
    with pytest.raises(RuntimeError):
        store.migrate()
    monkeypatch.undo()
    assert tables_in(store) <= {"alembic_version"}
    store.migrate()
    assert set(metadata.tables) <= tables_in(store)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"this is a text, not a database" * 100)
    with pytest.raises(UnusableDatabase, match="file is not a database"):
        Store(f"sqlite:///{tmp_path / 'a.db'}").migrate()
