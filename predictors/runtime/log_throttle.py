"""Log lines that anybody can cause again and again: one is written a minute, and says how often it has happened."""

from __future__ import annotations

import time

LOG_INTERVAL = 60.0  # seconds


class LogThrottle:
    """Counts what is logged, and says when a line is due. Another thread than the one that counts may read `count`."""

    def __init__(self, interval: float = LOG_INTERVAL) -> None:
        self.interval = interval
        self.count = 0
        """How often it has happened since the last line."""
        self.next_line = 0.0

    def due(self) -> int:
        """Counts once more; the number that a line now stands for, or 0 if none is due yet."""
        self.count += 1
        now = time.monotonic()
        if now < self.next_line:
            return 0
        self.next_line = now + self.interval
        count, self.count = self.count, 0
        return count
