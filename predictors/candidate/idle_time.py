"""Time of the event loop that nobody needs."""

from __future__ import annotations

import time

USED_SHARE = 0.8  # of the idle time
MIN_SHARE = 0.01  # of all time: under a lasting overload a few requests are still compared
MAX_SAVED = 0.1  # seconds


class IdleTime:
    """Seconds that may be spent without holding up requests, from how long the thread of the event loop has slept.

    Called in that thread.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.now, self.busy = time.perf_counter(), time.thread_time()

    def refill(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        passed = now - self.now
        idle = max(0.0, passed - (busy - self.busy))
        self.now, self.busy = now, busy
        self.seconds = min(MAX_SAVED, self.seconds + idle * USED_SHARE + passed * MIN_SHARE)

    def spend(self, seconds: float) -> None:
        self.seconds -= seconds
