"""Time of the event loop that nobody needs."""

from __future__ import annotations

import os
import time
from contextlib import suppress

USED_SHARE = 0.8  # of the idle time
MIN_SHARE = 0.01  # of all time: under a lasting overload a few requests are still compared
MAX_SAVED = 0.1  # seconds
SCHEDULER = "/proc/thread-self/schedstat"
"""Nanoseconds that this thread has run, and that it has waited for a CPU."""


class IdleTime:
    """Seconds that may be spent without holding up requests, from how long the thread of the event loop has slept.

    Made and called in that thread. Where the kernel says so, time in which it waits for a CPU counts as busy: others
    need that, or a limit of the container withholds it.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.file = -1
        with suppress(OSError):
            self.file = os.open(SCHEDULER, os.O_RDONLY | os.O_CLOEXEC)
        self.now, self.busy = time.perf_counter(), self.busy_seconds()

    def busy_seconds(self) -> float:
        if self.file < 0:
            return time.thread_time()
        ran, waited, *_ = os.pread(self.file, 128, 0).split()
        return (int(ran) + int(waited)) / 1e9

    def refill(self) -> None:
        now, busy = time.perf_counter(), self.busy_seconds()
        passed = now - self.now
        idle = max(0.0, passed - (busy - self.busy))
        self.now, self.busy = now, busy
        self.seconds = min(MAX_SAVED, self.seconds + idle * USED_SHARE + passed * MIN_SHARE)

    def spend(self, seconds: float) -> None:
        self.seconds -= seconds

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
