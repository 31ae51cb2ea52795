"""Rows of features that were looked up a moment ago."""

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
    """By the position of the feature in the names that were asked for."""

    values: list[Any]
    statuses: list[FeatureStatus]
    timestamps: list[float]


@dataclass(slots=True)
class Flight:
    """A lookup that is under way, for all who want one of its rows."""

    task: asyncio.Task[dict[Hashable, CachedRow]]
    since: float


class Cached:
    """For one event loop. Rows are kept by all of their keys, with what was asked for; `hits` and `misses` count."""

    def __init__(self, store: FeatureStore, ttl_seconds: float, most_rows: int = 10_000) -> None:
        self.store = store
        self.ttl_seconds = ttl_seconds
        self.most_rows = most_rows
        self.rows: OrderedDict[Hashable, tuple[float, CachedRow]] = OrderedDict()
        """With the time before they were looked up; the least recently used first."""
        self.flights: dict[Hashable, Flight] = {}
        self.hits = 0
        self.misses = 0

    async def open(self) -> Catalogue:
        return await self.store.open()

    async def fetch(self, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Fetched:
        asked = tuple(names)
        labels = tuple(columns)
        try:
            # Of views without entities there is one row.
            rows = zip(*columns.values(), strict=True) if columns else [()]
            # 1, 1.0 and True are equal, and may be different entities.
            keys: list[Hashable] = [(asked, labels, row, *map(type, row)) for row in rows]
            looked_up = {key: self.look_up(key) for key in dict.fromkeys(keys)}
        except TypeError:  # a list is no key
            return await self.store.fetch(columns, names)
        unknown = {key: at for at, key in enumerate(keys) if looked_up[key] is None}
        self.misses += len(unknown)
        self.hits += len(looked_up) - len(unknown)
        found = {key: row for key, row in looked_up.items() if row is not None}
        if unknown:
            found |= await self.rows_of(unknown, columns, asked)
        return together(asked, [found[key] for key in keys])

    def look_up(self, key: Hashable) -> CachedRow | None:
        kept = self.rows.get(key)
        if kept is None:
            return None
        if time.monotonic() - kept[0] > self.ttl_seconds:
            del self.rows[key]
            return None
        self.rows.move_to_end(key)
        return kept[1]

    async def rows_of(
        self, unknown: Mapping[Hashable, int], columns: Mapping[str, Sequence[Any]], asked: Sequence[str]
    ) -> dict[Hashable, CachedRow]:
        """Waits for what others look up already, and looks up the rest."""
        now = time.monotonic()
        flights = {}
        for key in unknown:
            flight = self.flights.get(key)
            if flight is not None and now - flight.since <= self.ttl_seconds:
                flights[key] = flight
        mine = {key: at for key, at in unknown.items() if key not in flights}
        if mine:
            part = {name: [values[at] for at in mine.values()] for name, values in columns.items()}
            flight = Flight(asyncio.create_task(self.fly(part, asked, [*mine], now)), now)
            flight.task.add_done_callback(retrieved)
            for key in mine:
                self.flights[key] = flights[key] = flight
        # Shielded: others may wait for it when this caller leaves.
        return {key: (await asyncio.shield(flight.task))[key] for key, flight in flights.items()}

    async def fly(
        self, columns: Mapping[str, Sequence[Any]], asked: Sequence[str], keys: Sequence[Hashable], since: float
    ) -> dict[Hashable, CachedRow]:
        try:
            fetched = await self.store.fetch(columns, asked)
        finally:
            for key in keys:
                flight = self.flights.get(key)
                if flight is not None and flight.task is asyncio.current_task():
                    del self.flights[key]
        rows = dict(zip(keys, apart(fetched, asked, len(keys)), strict=True))
        for key, row in rows.items():
            self.rows[key] = since, row
            self.rows.move_to_end(key)
        while len(self.rows) > self.most_rows:
            self.rows.popitem(last=False)
        return rows

    async def close(self) -> None:
        if under_way := {flight.task for flight in self.flights.values()}:
            await asyncio.wait(under_way)
        await self.store.close()


def retrieved(task: asyncio.Task[Any]) -> None:
    """All who waited for it may have gone: then nobody else asks what went wrong."""
    if not task.cancelled():
        task.exception()


def apart(fetched: Fetched, asked: Sequence[str], count: int) -> list[CachedRow]:
    return [
        CachedRow(
            [fetched.values[name][at] for name in asked],
            [fetched.statuses[name][at] for name in asked],
            [fetched.timestamps[name][at] for name in asked],
        )
        for at in range(count)
    ]


def together(asked: Sequence[str], rows: Sequence[CachedRow]) -> Fetched:
    return Fetched(
        {name: [row.values[at] for row in rows] for at, name in enumerate(asked)},
        {name: [row.statuses[at] for row in rows] for at, name in enumerate(asked)},
        {name: [row.timestamps[at] for row in rows] for at, name in enumerate(asked)},
    )
