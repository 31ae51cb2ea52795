"""A bound on what large requests become once they are decoded: they wait for it in turn, in front of their decoding.

Numbers become as large as their texts or a few times larger, texts and mixed rows many times; how large is known only
afterwards. So a request begins when what it is likely to take is free, or when no other is decoded at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

EXPECTED = 2  # times the size of a request: numbers of a few digits each


class DecodedBytes:
    """Used on the event loop only."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.held = 0
        self.waiting: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def place(self, size: int) -> AsyncIterator[DecodedPlace]:
        """A place for a request of this size, once there is room for it."""
        expected = EXPECTED * size
        while self.held and self.held + expected > self.limit:
            change = asyncio.get_running_loop().create_future()
            self.waiting.add(change)
            try:
                await change
            finally:
                self.waiting.discard(change)
        place = DecodedPlace(self)
        place.hold(expected)
        try:
            yield place
        finally:
            place.hold(0)

    def change(self, size: int) -> None:
        self.held += size
        for waiting in self.waiting if size < 0 else ():
            if not waiting.done():
                waiting.set_result(None)


class DecodedPlace:
    def __init__(self, decoded: DecodedBytes) -> None:
        self.decoded = decoded
        self.size = 0

    def hold(self, size: int) -> None:
        """What the request takes, as far as is known now."""
        change, self.size = size - self.size, size
        self.decoded.change(change)
