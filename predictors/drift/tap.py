"""Where requests leave what they asked and what was answered: an even sample of them, for a thread to count later."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from itertools import cycle, repeat
from typing import TypeAlias

from predictors.engines.engine import Answer
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import Array

MAX_REQUESTS, MAX_ROWS = 250, 5000
"""What is looked at in a second, about: more would show nothing more, and cost more than it may."""
MAX_AT_ONCE = 1000  # rows of one request
DRAWN = 509  # lengths of pauses that are drawn at a time

Quick: TypeAlias = "tuple[Array, Answer]"
Slow: TypeAlias = "tuple[Batch, Prediction]"


class Tap:
    """Of one loaded model in one process."""

    def __init__(self) -> None:
        self.quick: deque[Quick] = deque()
        self.slow: deque[Slow] = deque()
        self.pause = 0
        """How many requests are passed over until the next one is taken."""
        self.stride = 1.0
        """One request in so many is taken."""
        self.pauses: Iterator[int] = repeat(0)
        self.room = MAX_REQUESTS * 4  # for bursts
        self.rows = 0
        self.missed = 0
        """Requests that found no room."""

    def take(self, rows: Array, answer: Answer) -> None:
        """On the short way of a request, so the most frequent thing first: nothing to do."""
        if self.pause > 0:
            self.pause -= 1
        elif self.room > 0:
            if len(rows) > MAX_AT_ONCE:
                some = slice(None, None, -(-len(rows) // MAX_AT_ONCE))
                rows, answer = rows[some], (answer[0][some], None if answer[1] is None else answer[1][some])
            self.quick.append((rows, answer))
            self.took(len(rows))
        else:
            self.missed += 1

    def add(self, batch: Batch, prediction: Prediction, rows: int = 1) -> None:
        """On the long way."""
        if self.pause > 0:
            self.pause -= 1
        elif self.room > 0:
            self.slow.append((batch, prediction))
            self.took(min(rows, MAX_AT_ONCE))
        else:
            self.missed += 1

    def took(self, rows: int) -> None:
        self.pause = next(self.pauses)
        self.room -= max(1, rows * MAX_REQUESTS // MAX_ROWS)
        self.rows += rows

    def drain(self, seconds: float) -> tuple[list[Quick], list[Slow]]:
        """What was taken since the last time. How much that was decides how many are passed over from now on."""
        quick = [self.quick.popleft() for _ in range(len(self.quick))]
        slow = [self.slow.popleft() for _ in range(len(self.slow))]
        taken = len(quick) + len(slow)
        requests = taken * self.stride + self.missed
        rows = self.rows / max(1, taken) * requests
        wanted = max(1.0, requests / (MAX_REQUESTS * seconds), rows / (MAX_ROWS * seconds))
        # Upwards at once, downwards bit by bit: the next second may be like the one before.
        self.set_stride(wanted if wanted > self.stride else max(wanted, self.stride / 2))
        self.room = int(MAX_REQUESTS * max(seconds, 1.0) * 4)
        self.rows = self.missed = 0
        return quick, slow

    def set_stride(self, stride: float) -> None:
        """Pauses of random length, so that no rhythm of the callers' falls in with ours."""
        if stride != self.stride:
            self.stride = stride
            longest = 2 * (stride - 1)
            drawn = [round(random.uniform(0, longest)) for _ in range(DRAWN)]  # noqa: S311 - a sample, not a secret
            self.pauses = cycle(drawn) if stride > 1 else repeat(0)
