"""`Tap`: an even sample of requests and predictions, which a thread counts later."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from itertools import cycle, repeat
from typing import TypeAlias

from predictors.engines.answers import part_of
from predictors.engines.engine import Answer, Rows
from predictors.protocol.batch import Batch, Prediction

MAX_REQUESTS, MAX_ROWS = 250, 5000
"""About the size of the sample per second: a larger one would cost more and show no more."""
MAX_REQUEST_ROWS = 1000  # sampled from a single request
DRAWN_SKIPS = 509  # random numbers drawn at a time

FastSample: TypeAlias = "tuple[Rows, Answer]"
SlowSample: TypeAlias = "tuple[Batch, Prediction]"


class Tap:
    """The sample of one loaded model in one process."""

    def __init__(self) -> None:
        self.fast: deque[FastSample] = deque()
        self.slow: deque[SlowSample] = deque()
        self.to_skip = 0
        """The number of requests to skip until the next one is sampled."""
        self.stride = 1.0
        """One request in so many is sampled."""
        self.skips: Iterator[int] = repeat(0)
        self.capacity = MAX_REQUESTS * 4  # for bursts
        self.rows = 0
        self.missed = 0
        """Requests that were not sampled for lack of capacity."""

    def sample_rows(self, rows: Rows, answer: Answer) -> None:
        """Called on the fast path, so the most frequent case comes first: a request that is skipped."""
        if self.to_skip > 0:
            self.to_skip -= 1
        elif self.capacity > 0:
            if len(rows) > MAX_REQUEST_ROWS:
                every = slice(None, None, -(-len(rows) // MAX_REQUEST_ROWS))
                rows, answer = rows[every], (part_of(answer[0], every), None if answer[1] is None else answer[1][every])
            self.fast.append((rows, answer))
            self.note_sample(len(rows))
        else:
            self.missed += 1

    def sample_batch(self, batch: Batch, prediction: Prediction, rows: int = 1) -> None:
        """Called on the slow path."""
        if self.to_skip > 0:
            self.to_skip -= 1
        elif self.capacity > 0:
            self.slow.append((batch, prediction))
            self.note_sample(min(rows, MAX_REQUEST_ROWS))
        else:
            self.missed += 1

    def note_sample(self, rows: int) -> None:
        self.to_skip = next(self.skips)
        self.capacity -= max(1, rows * MAX_REQUESTS // MAX_ROWS)
        self.rows += rows

    def drain(self, seconds: float) -> tuple[list[FastSample], list[SlowSample]]:
        """The samples since the last call. Their number decides how many requests are skipped from now on."""
        fast = [self.fast.popleft() for _ in range(len(self.fast))]
        slow = [self.slow.popleft() for _ in range(len(self.slow))]
        samples = len(fast) + len(slow)
        requests = samples * self.stride + self.missed
        rows = self.rows / max(1, samples) * requests
        stride = max(1.0, requests / (MAX_REQUESTS * seconds), rows / (MAX_ROWS * seconds))
        # Up at once, down gradually: a quiet second may be followed by a busy one.
        self.set_stride(stride if stride > self.stride else max(stride, self.stride / 2))
        self.capacity = int(MAX_REQUESTS * max(seconds, 1.0) * 4)
        self.rows = self.missed = 0
        return fast, slow

    def set_stride(self, stride: float) -> None:
        """Sets the average stride; single ones are random, so that no rhythm of the callers biases the sample."""
        if stride != self.stride:
            self.stride = stride
            max_skip = 2 * (stride - 1)
            drawn = [round(random.uniform(0, max_skip)) for _ in range(DRAWN_SKIPS)]  # noqa: S311 - a sample, not a secret
            self.skips = cycle(drawn) if stride > 1 else repeat(0)
