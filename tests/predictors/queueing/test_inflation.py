"""Compressed bodies: what they become, what is held for them meanwhile, and which are refused."""

from __future__ import annotations

import asyncio
import gc
import gzip
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from predictors.queueing.byte_budget import BudgetExhausted, ByteBudget
from predictors.queueing.inflation import (
    ANY_RATIO,
    SMALL_STEP,
    STEP,
    InflatedTooLarge,
    Inflater,
    Inflation,
    InflationFailed,
)

MIB = 1024**2
MAX = 8 * MIB


class CountedBudget:
    """Holds bytes in a budget, and remembers each change."""

    def __init__(self, most: float = MAX * 2) -> None:
        self.bytes = ByteBudget(most)
        self.changes: list[int] = []

    def __call__(self, size: int) -> None:
        if size > 0 and not self.bytes.has(size):
            raise BudgetExhausted
        self.bytes.held += size
        self.changes.append(size)


def inflate(packed: bytes, budget: CountedBudget | None = None, ratio: int = 0, max_size: int = MAX) -> bytes:
    return asyncio.run(Inflater(max_size, ratio).inflate(packed, budget or CountedBudget()))


def noise(size: int) -> bytes:
    """What cannot be compressed."""
    return random.Random(size).randbytes(size)


BODIES = {
    "nothing": b"",
    "a byte": b"x",
    "one small step": b"x" * SMALL_STEP,
    "a small step and a byte": b"x" * (SMALL_STEP + 1),
    "three steps": b"abc" * STEP,
    "three steps and a byte": b"abc" * STEP + b"d",
    "as much as there may be": bytes(MAX),
    "noise": noise(MIB),
    "noise and zeros": (noise(1000) + bytes(50_000)) * 60,
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_bodies_are_as_they_were(body: bytes, pack: Callable[[bytes], bytes]) -> None:
    budget = CountedBudget()
    assert inflate(pack(body), budget) == body
    assert budget.bytes.held == len(body)
    assert all(change <= SMALL_STEP + STEP for change in budget.changes)


@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_blocks_that_hold_nothing(pieces: int) -> None:
    packer, empty = zlib.compressobj(), b"\0\0\0\xff\xff" * 30_000
    packed = [packer.compress(noise(5000)) + packer.flush(zlib.Z_FULL_FLUSH) + empty for _ in range(pieces)]
    assert inflate(b"".join(packed) + packer.flush()) == noise(5000) * pieces


def test_room_is_held_before_a_step() -> None:
    """So what does not fit is never made."""
    budget, packed = CountedBudget(3 * STEP + 10), zlib.compress(bytes(MAX))
    tracemalloc.start()
    try:
        with pytest.raises(BudgetExhausted):
            inflate(packed, budget)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2 * STEP < peak < 4.5 * STEP
    assert budget.changes == [SMALL_STEP + STEP, STEP]


def test_a_small_body_is_complete_at_once() -> None:
    """On the event loop: the fast path of gRPC needs no task."""
    inflater, budget = Inflater(MAX), CountedBudget()
    inflation = inflater.begin(gzip.compress(bytes(1000)), budget)
    assert inflation.is_complete()
    assert (inflation.body(), budget.bytes.held) == (bytes(1000), 1000)
    assert not inflater.begin(gzip.compress(bytes(MIB)), budget).is_complete()
    assert not inflater.begin(noise(SMALL_STEP + 1), budget).is_complete(), "it is not even looked at yet"


def test_large_bodies_are_inflated_by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, bool]] = []
    step = Inflation.step

    def recorded(self: Inflation, size: int) -> None:
        steps.append((size, threading.current_thread() is threading.main_thread()))
        step(self, size)

    monkeypatch.setattr(Inflation, "step", recorded)
    inflate(zlib.compress(bytes(2 * STEP)))
    assert steps == [(SMALL_STEP, True), (STEP, False), (STEP, False)]


@pytest.mark.parametrize(("ratio", "size"), [(10, 2 * MIB), (100, 7 * MIB), (1, ANY_RATIO + 1)])
def test_bodies_that_grow_too_much(ratio: int, size: int) -> None:
    packed = zlib.compress(bytes(size), 9)
    assert size > ratio * len(packed)
    with pytest.raises(InflatedTooLarge, match=rf"more than {ratio} times larger .* \(--max-inflation\)"):
        inflate(packed, ratio=ratio)
    assert inflate(packed) == bytes(size), "0 is no limit"


def test_any_small_body_may_grow() -> None:
    assert inflate(zlib.compress(bytes(ANY_RATIO)), ratio=1) == bytes(ANY_RATIO)


@pytest.mark.parametrize("ratio", [0, 2000])
def test_bodies_that_are_too_large(ratio: int) -> None:
    with pytest.raises(InflatedTooLarge, match=rf"larger than {MAX} bytes \(--max-body\)"):
        inflate(zlib.compress(bytes(MAX + 1)), ratio=ratio)
    with pytest.raises(InflatedTooLarge, match=r"larger than 10 bytes"):
        inflate(zlib.compress(bytes(11)), ratio=ratio, max_size=10)


@pytest.mark.parametrize("body", [b"short", noise(3 * STEP)])
def test_bodies_that_are_broken(body: bytes) -> None:
    packed = gzip.compress(body)
    for cut in (0, 1, 9, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        with pytest.raises(InflationFailed, match="is truncated"):
            inflate(packed[:cut])
    for follows in (b"x", packed, bytes(100_000)):
        with pytest.raises(InflationFailed, match="is followed by something else"):
            inflate(packed + follows)
    wrong = packed[:-5] + bytes((packed[-5] ^ 1,)) + packed[-4:]  # the checksum
    for broken in (wrong, b"no gzip", body):
        with pytest.raises(InflationFailed, match="cannot be decompressed"):
            inflate(broken)


def test_a_refused_body_is_gone_at_once() -> None:
    """Whoever keeps the error keeps no buffer with it."""
    packed = zlib.compress(bytes(MAX + 1))
    gc.disable()
    tracemalloc.start()
    try:
        with pytest.raises(InflatedTooLarge) as error:
            inflate(packed)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert error.value.__traceback__ is not None
    assert peak > MAX
    assert left < MIB


def test_bodies_wait_for_one_another() -> None:
    """Half of the CPUs inflate at a time: bodies that share too little room would all be refused."""

    async def all_of_them() -> list[bytes]:
        inflater = Inflater(MAX)
        inflater.slots = asyncio.Semaphore(1)
        budget = CountedBudget()

        async def one() -> bytes:
            body = await inflater.inflate(zlib.compress(bytes(MAX)), budget)
            budget(-len(body))
            return body

        return await asyncio.gather(*(one() for _ in range(4)))

    assert asyncio.run(all_of_them()) == [bytes(MAX)] * 4
