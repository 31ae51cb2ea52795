"""Feast's parts that several test files share; what a test changes, it copies or puts back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from predictors.features.demo import build
from tests.predictors.features.feast import FeatureServer, redis

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def hour_ago() -> float:
    return (NOW - timedelta(hours=1)).timestamp()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's, with SQLite."""
    return build(tmp_path_factory.mktemp("feast") / "repository", now=NOW)


@pytest.fixture(scope="session")
def feature_server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    server = FeatureServer(repository, tmp_path_factory.mktemp("serve") / "server.log")
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="session")
def redis_repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo's, with Redis."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("redis")
    with redis(folder) as (port, _):
        yield build(folder / "repository", {"type": "redis", "connection_string": f"127.0.0.1:{port}"}, NOW)
