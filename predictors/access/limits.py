"""Rate limits: a token bucket for each client, in memory of fixed size that worker processes share."""

from __future__ import annotations

import mmap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SECONDS = {"s": 1, "m": 60, "h": 3600}
SETS, WAYS = 16_384, 4  # clients that are remembered; beyond that, those with the fullest buckets are forgotten
SLOTS = SETS * WAYS


@dataclass(frozen=True, slots=True)
class Rate:
    count: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.count} in {self.seconds} s"


def parse_rate(text: str) -> Rate:
    count, _, unit = text.strip().partition("/")
    if not count.isascii() or not count.isdigit() or not 0 < int(count) <= 10**9 or unit not in SECONDS:
        raise ValueError("expected a rate such as 100/s, 6000/m or 10000/h")
    return Rate(int(count), SECONDS[unit])


class Charge(NamedTuple):
    wait: float
    """Seconds until the request would be served; 0 if it is served now."""
    left: int
    """How many more would be served now."""
    reset: float
    """Seconds until the bucket is full again."""


class Limiter:
    """Buckets of `burst` requests that fill at a rate.

    A bucket is stored as the time at which it will be full again (the generic cell rate algorithm): one number, which
    is written atomically. Workers that charge the same client at the same moment may admit one request too many.
    """

    def __init__(self, rate: Rate, burst: int, file: Path | None = None) -> None:
        """Processes with the same file share the buckets."""
        self.rate, self.burst = rate, burst
        self.cost = rate.seconds / rate.count
        """Seconds in which a bucket regains one request."""
        self.capacity = burst * self.cost
        view = memoryview(shared_memory(file, 16 * SLOTS))
        self.clients = view[: 8 * SLOTS].cast("q")
        self.full_at = view[8 * SLOTS :].cast("d")

    def charge(self, client: str) -> Charge:
        """Takes a request from a client's bucket unless it is empty."""
        clients, full_at = self.clients, self.full_at
        key = hash(client) or 1  # unpredictable, and the same in all forks of a process
        first = key % SETS * WAYS
        slot = first
        for at in range(first, first + WAYS):
            if clients[at] == key:
                slot = at
                break
            if full_at[at] < full_at[slot]:
                slot = at
        else:
            clients[slot], full_at[slot] = key, 0.0
        now = time.monotonic()
        full = max(full_at[slot], now)
        after = full + self.cost - now
        if after > self.capacity + 1e-9:
            return Charge(after - self.capacity, 0, full - now)
        full_at[slot] = now + after
        return Charge(0.0, int((self.capacity - after) / self.cost + 1e-6), after)


def shared_memory(file: Path | None, size: int) -> mmap.mmap:
    """Initially zero; pages that are never touched cost nothing."""
    if file is None:
        return mmap.mmap(-1, size)
    with file.open("ab+") as opened:
        opened.truncate(size)
        return mmap.mmap(opened.fileno(), size)
