"""A cache of recently looked-up feature rows, with one lookup for concurrent requests of the same row."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from predictors.features.store import Catalogue, FeatureStatus, FeatureStore, Fetched


@dataclass(slots=True)
class CachedRow:
    """The features of one entity, in the order of the requested names."""

    values: list[Any]
    statuses: list[FeatureStatus]
    timestamps: list[float]


@dataclass(slots=True)
class PendingLookup:
    """A lookup in progress, shared by all requests that need one of its rows."""

    task: asyncio.Task[dict[Hashable, CachedRow]]
    started: float


class CachedStore:
    """For one event loop. Rows are cached by their keys and the requested features."""

    def __init__(self, store: FeatureStore, ttl_seconds: float, max_rows: int = 10_000) -> None:
        self.store = store
        self.ttl_seconds = ttl_seconds
        self.max_rows = max_rows
        self.rows: OrderedDict[Hashable, tuple[float, CachedRow]] = OrderedDict()
        """Each with the time at which its lookup started; the least recently used first."""
        self.pending: dict[Hashable, PendingLookup] = {}
        self.hits = 0
        self.misses = 0

    async def open(self) -> Catalogue:
        return await self.store.open()

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        requested = tuple(names)
        labels = tuple(columns)
        try:
            # Views without entities have one row.
            rows = zip(*columns.values(), strict=True) if columns else [()]
            # 1, 1.0 and True are equal, but may be different entities.
            keys: list[Hashable] = [(requested, labels, row, *map(type, row)) for row in rows]
            cached = {key: self.cached_row(key) for key in dict.fromkeys(keys)}
        except TypeError:  # a list cannot be a dictionary key
            return await self.store.fetch(columns, names)
        missing = {key: at for at, key in enumerate(keys) if cached[key] is None}
        self.misses += len(missing)
        self.hits += len(cached) - len(missing)
        rows_by_key = {key: row for key, row in cached.items() if row is not None}
        if missing:
            rows_by_key |= await self.fetch_rows(missing, columns, requested)
        return joined_rows(requested, [rows_by_key[key] for key in keys])

    def cached_row(self, key: Hashable) -> CachedRow | None:
        entry = self.rows.get(key)
        if entry is None:
            return None
        started, row = entry
        if time.monotonic() - started > self.ttl_seconds:
            del self.rows[key]
            return None
        self.rows.move_to_end(key)
        return row

    async def fetch_rows(
        self, missing: Mapping[Hashable, int], columns: Mapping[str, Sequence[Any]], names: Sequence[str]
    ) -> dict[Hashable, CachedRow]:
        """Waits for rows that other requests already look up, and looks up the rest."""
        now = time.monotonic()
        lookups = {}
        for key in missing:
            lookup = self.pending.get(key)
            if lookup is not None and now - lookup.started <= self.ttl_seconds:
                lookups[key] = lookup
        own = {key: at for key, at in missing.items() if key not in lookups}
        if own:
            part = {name: [values[at] for at in own.values()] for name, values in columns.items()}
            lookup = PendingLookup(asyncio.create_task(self.fetch_and_cache(part, names, [*own], now)), now)
            lookup.task.add_done_callback(consume_exception)
            for key in own:
                self.pending[key] = lookups[key] = lookup
        # Shielded: other requests may wait for the lookup when this one is cancelled.
        return {key: (await asyncio.shield(lookup.task))[key] for key, lookup in lookups.items()}

    async def fetch_and_cache(
        self, columns: Mapping[str, Sequence[Any]], names: Sequence[str], keys: Sequence[Hashable], started: float
    ) -> dict[Hashable, CachedRow]:
        try:
            fetched = await self.store.fetch(columns, names)
        finally:
            for key in keys:
                lookup = self.pending.get(key)
                if lookup is not None and lookup.task is asyncio.current_task():
                    del self.pending[key]
        rows = dict(zip(keys, split_rows(fetched, names, len(keys)), strict=True))
        for key, row in rows.items():
            self.rows[key] = started, row
            self.rows.move_to_end(key)
        while len(self.rows) > self.max_rows:
            self.rows.popitem(last=False)
        return rows

    async def close(self) -> None:
        if tasks := {lookup.task for lookup in self.pending.values()}:
            await asyncio.wait(tasks)
        await self.store.close()


def consume_exception(task: asyncio.Task[Any]) -> None:
    """All requests that waited may be cancelled; asyncio would then log an exception that was never retrieved."""
    if not task.cancelled():
        task.exception()


def split_rows(fetched: Fetched, names: Sequence[str], count: int) -> list[CachedRow]:
    return [
        CachedRow(
            [fetched.values[name][at] for name in names],
            [fetched.statuses[name][at] for name in names],
            [fetched.timestamps[name][at] for name in names],
        )
        for at in range(count)
    ]


def joined_rows(names: Sequence[str], rows: Sequence[CachedRow]) -> Fetched:
    return Fetched(
        {name: [row.values[at] for row in rows] for at, name in enumerate(names)},
        {name: [row.statuses[at] for row in rows] for at, name in enumerate(names)},
        {name: [row.timestamps[at] for row in rows] for at, name in enumerate(names)},
    )
