"""`DriftWindow`: a sliding window of tallies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from predictors.drift.span import WINDOW_PARTS, Span
from predictors.drift.tally import DriftTally


class DriftWindow:
    """A window in parts. Finished parts are summed once, so that adding takes the same time for any length."""

    def __init__(self, span: Span, empty: DriftTally, now: Callable[[], float] = time.monotonic) -> None:
        self.span = span
        self.empty = empty
        self.now = now
        self.finished: deque[tuple[float, DriftTally]] = deque()
        self.finished_total = empty
        """The sum of the finished parts."""
        self.current = empty
        self.since = self.latest = now()

    def add(self, tally: DriftTally) -> None:
        self.slide()
        self.current = self.current + tally
        self.latest = self.now()

    def total(self) -> DriftTally:
        self.slide()
        return self.finished_total + self.current

    def slide(self) -> None:
        now = self.now()
        if self.span.rows:
            full = self.current.rows >= self.span.rows / WINDOW_PARTS
        else:
            full = now - self.since >= self.span.seconds / WINDOW_PARTS
        if full:
            self.finished.append((self.latest, self.current))
            self.current, self.since = self.empty, now
        if full or self.is_outdated(now):
            while self.is_outdated(now):
                self.finished.popleft()
            self.finished_total = sum((tally for _, tally in self.finished), self.empty)

    def is_outdated(self, now: float) -> bool:
        """Whether the oldest part lies outside of the window."""
        if not self.finished:
            return False
        if self.span.rows:
            rows = sum(tally.rows for _, tally in self.finished) + self.current.rows
            return rows - self.finished[0][1].rows >= self.span.rows
        return now - self.finished[0][0] >= self.span.seconds
