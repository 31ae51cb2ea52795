"""Compressed bodies: a small one is inflated at once, a large one in steps by threads, with room for each step.

A few kilobytes may inflate to gigabytes, which takes seconds. What a body may hold is limited, and so is how many times
larger it may become; room for each step is held before the step makes its bytes.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import TypeAlias

from predictors.runtime.cpus import cpu_limit

Hold: TypeAlias = Callable[[int], None]
"""Counts bytes as held, or gives back a negative number of them; raises if there is no room."""

SMALL_STEP = 64 * 1024  # bytes, on the event loop
STEP = 1024**2  # bytes, in a thread
PIECE = 64 * 1024  # bytes of input at a time: zlib copies what it leaves
ANY_RATIO = 1024**2  # bytes that any body may become, however small it is
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # by its header


class InflationFailed(Exception):
    """The message continues a sentence that begins with the name of what was sent."""


class InflatedTooLarge(InflationFailed):
    """It is, or becomes, larger than it may be."""


class Inflation:
    """One body that is inflated."""

    def __init__(self, packed: bytes, max_size: int, max_ratio: int, hold: Hold) -> None:
        self.packed = memoryview(packed)
        self.at = 0
        """Bytes that have been read."""
        allowed = max(max_ratio * len(packed), ANY_RATIO) if max_ratio else max_size
        self.most = min(allowed, max_size)
        self.reason = (
            f"is larger than {max_size} bytes (--max-body)"
            if self.most == max_size
            else f"becomes more than {max_ratio} times larger when it is unpacked (--max-inflation)"
        )
        self.unpacker = zlib.decompressobj(wbits=GZIP_OR_ZLIB)
        self.made = BytesIO()
        self.hold = hold
        self.held = 0

    def is_complete(self) -> bool:
        return self.unpacker.eof

    def hold_for(self, size: int) -> None:
        """Holds as much as there will be after a step of this size."""
        self.hold_exactly(min(self.made.tell() + size, self.most))

    def hold_exactly(self, size: int) -> None:
        self.hold(size - self.held)
        self.held = size

    def step(self, size: int) -> None:
        """Makes up to `size` bytes more, and finds what is wrong."""
        end = min(self.made.tell() + size, self.most + 1)
        while not self.unpacker.eof and (left := end - self.made.tell()) > 0:
            piece = self.packed[self.at : self.at + PIECE]
            try:
                part = self.unpacker.decompress(piece, left)
            except zlib.error:
                raise InflationFailed("cannot be decompressed") from None
            self.at += len(piece) - len(self.unpacker.unconsumed_tail)
            self.made.write(part)
            if not part and not piece:
                raise InflationFailed("is truncated")
        if self.made.tell() > self.most:
            raise InflatedTooLarge(self.reason)
        if self.is_complete() and (self.unpacker.unused_data or self.at < len(self.packed)):
            raise InflationFailed("is followed by something else")

    def body(self) -> bytes:
        self.hold_exactly(self.made.tell())
        return self.made.getvalue()  # without a copy

    def discard(self) -> None:
        """Gives the memory back at once, whoever may still refer to this."""
        self.packed, self.made = memoryview(b""), BytesIO()


class Inflater:
    """Inflates what one process receives; used on the event loop only."""

    def __init__(self, max_size: int, max_ratio: int = 0) -> None:
        self.max_size = max_size
        self.max_ratio = max_ratio
        """How many times larger a body may become; 0 for any number."""
        self.slots = asyncio.Semaphore(max(1, cpu_limit() // 2))

    def begin(self, packed: bytes, hold: Hold) -> Inflation:
        """A small body is complete at once."""
        inflation = Inflation(packed, self.max_size, self.max_ratio, hold)
        if len(packed) <= SMALL_STEP:
            inflation.step(SMALL_STEP)
        return inflation

    async def finish(self, inflation: Inflation) -> bytes:
        if inflation.is_complete():
            return inflation.body()
        try:
            async with self.slots:
                while not inflation.is_complete():
                    inflation.hold_for(STEP)
                    await asyncio.to_thread(inflation.step, STEP)
            return inflation.body()
        except Exception:
            inflation.discard()
            raise

    async def inflate(self, packed: bytes, hold: Hold) -> bytes:
        return await self.finish(self.begin(packed, hold))
