"""The cache of feature rows: which lookups reach the store, and how old a row can be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from predictors.features import cache as caches
from predictors.features.cache import CachedStore
from predictors.features.store import Catalogue, FeastUnavailable, FeatureStatus, Fetched

NAMES = ["view__x", "view__y"]


class CountingStore:
    """Answers with the number of the lookup, and records the requested keys."""

    def __init__(self) -> None:
        self.requests: list[dict[str, list[Any]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def open(self) -> Catalogue:
        return Catalogue(())

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        self.requests.append({name: list(values) for name, values in columns.items()})
        number = len(self.requests)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        rows = [*zip(*columns.values(), strict=True)] if columns else [("all",)]
        return Fetched(
            {name: [(number, name, *row) for row in rows] for name in names},
            {
                name: [FeatureStatus.MISSING if row[0] == "nobody" else FeatureStatus.FOUND for row in rows]
                for name in names
            },
            {name: [float(number)] * len(rows) for name in names},
        )

    async def close(self) -> None:
        pass


class CacheClock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> CacheClock:
    clock = CacheClock()
    monkeypatch.setattr(caches, "time", clock)
    return clock


def test_only_missing_rows_are_looked_up(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        await cached.fetch({"k": ["a", "b"], "l": [1, 2]}, NAMES)
        fetched = await cached.fetch({"k": ["c", "b", "nobody", "c", "a"], "l": [3, 2, 9, 3, 1]}, NAMES)
        assert store.requests == [{"k": ["a", "b"], "l": [1, 2]}, {"k": ["c", "nobody"], "l": [3, 9]}]
        assert fetched == Fetched(
            {
                name: [
                    (2, name, "c", 3),
                    (1, name, "b", 2),
                    (2, name, "nobody", 9),
                    (2, name, "c", 3),
                    (1, name, "a", 1),
                ]
                for name in NAMES
            },
            {name: [FeatureStatus.FOUND] * 2 + [FeatureStatus.MISSING] + [FeatureStatus.FOUND] * 2 for name in NAMES},
            {name: [2.0, 1.0, 2.0, 2.0, 1.0] for name in NAMES},
        )
        assert (cached.hits, cached.misses) == (2, 4)
        await cached.fetch({"k": ["nobody"], "l": [9]}, NAMES)
        assert len(store.requests) == 2

    asyncio.run(run())


def test_no_row_is_older_than_the_ttl(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        store.gate.clear()
        task = asyncio.create_task(cached.fetch({"k": ["a"]}, NAMES))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.now += 4  # the lookup takes its time, which counts
        store.gate.set()
        await task
        clock.now += 6
        await cached.fetch({"k": ["a"]}, NAMES)
        assert len(store.requests) == 1
        clock.now += 0.1
        await cached.fetch({"k": ["a"]}, NAMES)
        assert len(store.requests) == 2

    asyncio.run(run())


def test_keys_types_and_names_are_distinguished(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        asked: list[tuple[dict[str, list[Any]], list[str]]] = [
            ({"k": [1]}, NAMES), ({"k": [1.0]}, NAMES), ({"k": [True]}, NAMES), ({"k": ["1"]}, NAMES),
            ({"l": [1]}, NAMES), ({"k": [1]}, NAMES[:1]), ({"k": [None]}, NAMES),
        ]  # fmt: skip
        for columns, names in asked:
            await cached.fetch(columns, names)
        assert len(store.requests) == 7
        await cached.fetch({"k": [1]}, NAMES)
        assert len(store.requests) == 7

    asyncio.run(run())


def test_the_number_of_rows_is_limited(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10, max_rows=3)
        for key in ("a", "b", "c", "a", "d"):
            await cached.fetch({"k": [key]}, NAMES)
        assert len(cached.rows) == 3
        await cached.fetch({"k": ["a", "c", "d"]}, NAMES)
        assert len(store.requests) == 4
        await cached.fetch({"k": ["b"]}, NAMES)  # the least recently used has gone
        assert len(store.requests) == 5
        await cached.fetch({"k": [*range(10)]}, NAMES)
        assert len(cached.rows) == 3

    asyncio.run(run())


def test_one_lookup_for_all_who_want_the_same_row(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        store.gate.clear()
        tasks = [asyncio.create_task(cached.fetch({"k": keys}, NAMES)) for keys in (["a", "b"], ["b", "c"], ["a"])]
        await settled(store, 2)
        tasks[0].cancel()  # the first caller leaves
        await asyncio.sleep(0)
        store.gate.set()
        assert (await tasks[1]).values["view__x"] == [(1, "view__x", "b"), (2, "view__x", "c")]
        assert (await tasks[2]).values["view__x"] == [(1, "view__x", "a")]
        assert store.requests == [{"k": ["a", "b"]}, {"k": ["c"]}]
        assert not cached.pending

    asyncio.run(run())


def test_a_lookup_that_takes_longer_than_rows_are_kept_is_not_joined(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        store.gate.clear()
        first = asyncio.create_task(cached.fetch({"k": ["a"]}, NAMES))
        await settled(store, 1)
        clock.now += 11
        second = asyncio.create_task(cached.fetch({"k": ["a"]}, NAMES))
        await settled(store, 2)
        store.gate.set()
        assert (await first).timestamps["view__x"] == [1.0]
        assert (await second).timestamps["view__x"] == [2.0]
        assert not cached.pending

    asyncio.run(run())


def test_failures_are_not_kept(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        store.gate.clear()
        store.failure = FeastUnavailable("unreachable", "gone")
        tasks = [asyncio.create_task(cached.fetch({"k": ["a"]}, NAMES)) for _ in range(2)]
        await settled(store, 1)
        store.gate.set()
        for task in tasks:
            with pytest.raises(FeastUnavailable, match="gone"):
                await task
        store.failure = None
        assert (await cached.fetch({"k": ["a"]}, NAMES)).timestamps["view__x"] == [2.0]

    asyncio.run(run())


def test_a_failure_that_nobody_waits_for_is_not_logged(clock: CacheClock, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        store.gate.clear()
        store.failure = FeastUnavailable("unreachable", "gone")
        task = asyncio.create_task(cached.fetch({"k": ["a"]}, NAMES))
        await settled(store, 1)
        task.cancel()
        store.gate.set()
        while cached.pending:
            await asyncio.sleep(0)

    asyncio.run(run())
    assert "never retrieved" not in caplog.text


def test_lists_are_no_keys(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        for _ in range(2):
            fetched = await cached.fetch({"k": [[1, 2]]}, NAMES)
        assert fetched.timestamps["view__x"] == [2.0]

    asyncio.run(run())


def test_a_view_without_entities_has_one_row(clock: CacheClock) -> None:
    async def run() -> None:
        cached = CachedStore(CountingStore(), 10)
        for _ in range(2):
            fetched = await cached.fetch({}, NAMES)
            assert fetched.values == {name: [(1, name, "all")] for name in NAMES}
        assert (cached.hits, cached.misses) == (1, 1)

    asyncio.run(run())


def test_what_is_under_way_at_the_end_is_answered(clock: CacheClock) -> None:
    async def run() -> None:
        store = CountingStore()
        cached = CachedStore(store, 10)
        store.gate.clear()
        task = asyncio.create_task(cached.fetch({"k": ["a"]}, NAMES))
        await settled(store, 1)
        closing = asyncio.create_task(cached.close())
        await asyncio.sleep(0)
        assert not closing.done()
        store.gate.set()
        await closing
        assert (await task).timestamps["view__x"] == [1.0]

    asyncio.run(run())


async def settled(store: CountingStore, lookups: int) -> None:
    async with asyncio.timeout(10):
        while len(store.requests) < lookups:
            await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
