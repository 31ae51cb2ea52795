"""A sliding window: what was counted lately."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from predictors.drift.span import PARTS, Span
from predictors.drift.tally import DriftTally


class DriftWindow:
    """Adding to it costs the same however long it is: what is finished is summed up once."""

    def __init__(self, span: Span, empty: DriftTally, now: Callable[[], float] = time.monotonic) -> None:
        self.span = span
        self.empty = empty
        self.now = now
        self.finished: deque[tuple[float, DriftTally]] = deque()
        self.before = empty
        """The sum of what is finished."""
        self.current = empty
        self.since = self.latest = now()

    def add(self, tally: DriftTally) -> None:
        self.slide()
        self.current = self.current + tally
        self.latest = self.now()

    def total(self) -> DriftTally:
        self.slide()
        return self.before + self.current

    def slide(self) -> None:
        now = self.now()
        if self.span.rows:
            full = self.current.rows >= self.span.rows / PARTS
        else:
            full = now - self.since >= self.span.seconds / PARTS
        if full:
            self.finished.append((self.latest, self.current))
            self.current, self.since = self.empty, now
        if full or self.outdated(now):
            while self.outdated(now):
                self.finished.popleft()
            self.before = sum((tally for _, tally in self.finished), self.empty)

    def outdated(self, now: float) -> bool:
        """Whether the oldest part lies outside."""
        if not self.finished:
            return False
        if self.span.rows:
            rows = sum(tally.rows for _, tally in self.finished) + self.current.rows
            return rows - self.finished[0][1].rows >= self.span.rows
        return now - self.finished[0][0] >= self.span.seconds
