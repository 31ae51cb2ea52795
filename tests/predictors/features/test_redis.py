"""Redis as online store: read on the event loop, and gone or held up at times."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from predictors.features.demo import SERVICE, build
from predictors.features.embedded import EmbeddedStore
from predictors.features.resilience import ResilientStore
from predictors.features.store import FeastUnavailable, FeatureStatus
from tests.predictors.features.feast import redis

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

ROWS: dict[str, list[Any]] = {"driver_id": [1001, 1003, 9], "customer_id": ["ada", "grace", "nobody"]}
NAMES = ["driver_stats__trips", "customer_stats__orders"]


def test_it_tells_an_empty_row_from_none(redis_repository: Path) -> None:
    """Feast says of both that they are present."""

    async def run() -> None:
        store = EmbeddedStore(str(redis_repository), SERVICE, refresh_seconds=0)
        await store.open()
        fetched = await store.fetch(ROWS, NAMES)
        await store.close()
        assert fetched.values == {"driver_stats__trips": [12, None, None], "customer_stats__orders": [3, 41, None]}
        assert fetched.statuses["driver_stats__trips"] == [
            FeatureStatus.FOUND,
            FeatureStatus.NULL,
            FeatureStatus.MISSING,
        ]

    asyncio.run(run())


def test_redis_is_held_up_and_ends(tmp_path: Path) -> None:
    async def reason_of(store: ResilientStore) -> str:
        with pytest.raises(FeastUnavailable) as failure:
            await store.fetch(ROWS, NAMES)
        return failure.value.reason

    with redis(tmp_path) as (port, process):
        repository = build(
            tmp_path / "repository", {"type": "redis", "connection_string": f"127.0.0.1:{port},socket_timeout=20"}
        )

        async def run() -> None:
            inner = EmbeddedStore(str(repository), SERVICE, refresh_seconds=0)
            await inner.open()
            store = ResilientStore(inner, timeout=10, failures=0)
            expected = (await store.fetch(ROWS, NAMES)).values
            process.send_signal(signal.SIGSTOP)
            store.timeout = 0.2
            assert await reason_of(store) == "timeout"
            process.send_signal(signal.SIGCONT)
            store.timeout = 10
            assert (await store.fetch(ROWS, NAMES)).values == expected
            process.kill()
            process.wait(30)
            store.timeout = 0.2  # its client tries for many seconds to connect
            assert await reason_of(store) in ("timeout", "unreachable")
            await inner.close()

        asyncio.run(run())
