"""The database: opened, migrated, and written in one transaction at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controlplane.failpoints import failpoint
from controlplane.store.tables import metadata

log = logging.getLogger("controlplane")

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 5.0
WRITING = "writing"
EXCLUDE_WRITERS = "SELECT version_num FROM alembic_version FOR UPDATE"
"""A lock of the one row that every database has. With one writer at a time, the ids of events are in the order of their
commits: whoever has read up to an id has missed none before it."""

CASE_BLIND = ("mysql", "mariadb")
"""Databases that take v1 and V1 for the same name, unless they are told to compare bytes."""


class UnusableDatabase(Exception):
    """The database cannot be used; the message is one line for the operator."""


class Store:
    """A database and the clock that its rows are stamped with."""

    def __init__(self, url: str, now: Callable[[], float] = time.time, replica: str | None = None) -> None:
        """Raises UnusableDatabase. `replica` is the URL of a copy that lists are read from."""
        self.engine = engine_of(url, "--database")
        self.replica = engine_of(replica, "--database-replica") if replica else None
        self.now = now

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def listing(self) -> Iterator[Connection]:
        """The same for lists, which the replica has, a moment late. While it is away, the database itself is asked."""
        if self.replica is not None:
            try:
                connection = self.replica.connect()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("the replica does not answer, and lists come from the database: %s", type(error).__name__)
            else:
                with connection, connection.begin():
                    yield connection
                return
        with self.reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that excludes other writers from its first statement on."""
        with self.engine.connect().execution_options(**{WRITING: True}) as connection:
            with connection.begin():
                if self.engine.dialect.name != "sqlite":
                    connection.exec_driver_sql(EXCLUDE_WRITERS)
                yield connection
                failpoint("before_commit")
            failpoint("after_commit")

    def migrate(self) -> None:
        """Brings the tables to the newest revision."""
        with self.migrating() as config:
            command.upgrade(config, "head")

    def migrate_back(self, revision: str = "base") -> None:
        """Takes migrations back; `base` leaves no table."""
        with self.migrating() as config:
            command.downgrade(config, revision)

    @contextmanager
    def migrating(self) -> Iterator[Config]:
        try:
            with self.engine.connect().execution_options(**{WRITING: True}) as connection:
                config = alembic_config(connection)
                known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
                current = MigrationContext.configure(connection).get_current_revision()
                names = set(inspect(connection).get_table_names())
                connection.rollback()
                if "alembic_version" not in names and (others := names & set(metadata.tables)):
                    raise UnusableDatabase(
                        f"the database has tables of something else: {', '.join(sorted(others))}; use one of its own"
                    )
                if current is None and self.engine.dialect.name in CASE_BLIND:
                    connection.exec_driver_sql("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
                    connection.commit()
                if current is not None and current not in known:
                    raise UnusableDatabase(
                        f"the database is at revision {current}, which this version does not know: use a newer version"
                    )
                yield config
        except DBAPIError as error:
            raise UnusableDatabase(f"the database cannot be used: {error.orig}") from None

    def check(self) -> None:
        """Raises DBAPIError if the database does not answer."""
        with self.reading() as tx:
            tx.execute(text("SELECT 1"))

    def close(self) -> None:
        self.engine.dispose()
        if self.replica is not None:
            self.replica.dispose()


def writes(tx: Connection) -> bool:
    """Whether a transaction is one that writes."""
    return bool(tx.get_execution_options().get(WRITING))


def engine_of(url: str, setting: str) -> Engine:
    """Raises UnusableDatabase, which names the setting."""
    try:
        engine = create_engine(url, **options_of(url, setting))
    except (ArgumentError, ImportError, ValueError) as error:
        raise UnusableDatabase(f"{setting}: {error}") from None
    if engine.dialect.name == "sqlite":
        prepare_sqlite(engine)
    return engine


def options_of(url: str, setting: str) -> dict[str, Any]:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True}
    if parsed.database in (None, "", ":memory:"):
        raise UnusableDatabase(f"{setting}: expected a file, not a database in memory: what is wanted must outlive us")
    return {"connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False}}


def prepare_sqlite(engine: Any) -> None:
    """Write-ahead log, checked references, and transactions that begin when they are said to."""

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions by itself
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
