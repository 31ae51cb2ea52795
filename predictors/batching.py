"""Requests that wait are answered together: one call of the engine costs little more for sixteen rows than for one.

Nobody waits for company. What has arrived goes at once; what arrives while the engine is at work goes together next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from predictors.engine import Answer, Proven, Run
from predictors.protocol.casting import Array

Done: TypeAlias = "Callable[[Answer | Exception], None]"
MOST_INLINE = 0.001  # seconds: what takes no longer is done on the event loop, a thread would cost more


@dataclass(slots=True, eq=False)
class Waiting:
    rows: Array
    probabilities: bool
    done: Done


class Batcher:
    """The way of small requests to one proven engine; for the event loop only."""

    def __init__(self, proven: Proven, loop: asyncio.AbstractEventLoop, executor: Executor, most_running: int) -> None:
        self.proven = proven
        self.loop = loop
        self.executor = executor
        self.most_running = most_running
        """How many batches may be computed in threads at a time."""
        self.running = 0
        self.queue: deque[Waiting] = deque()
        self.dispatching = False

    def submit(self, rows: Array, probabilities: bool, done: Done) -> None:
        """`done` gets the answer, or whatever the engine raises for these rows, whoever else was in their batch."""
        waiting = Waiting(rows, probabilities, done)
        if not self.joins(waiting) and self.proven.seconds(len(rows)) <= MOST_INLINE:
            done(attempt(self.proven, waiting))
            return
        self.queue.append(waiting)
        self.wake()

    def joins(self, one: Waiting) -> bool:
        return self.proven.together is not None and len(one.rows) <= self.proven.most_each

    async def answer(self, rows: Array, probabilities: bool) -> Answer:
        future: asyncio.Future[Answer] = self.loop.create_future()

        def done(answer: Answer | Exception) -> None:
            if future.done():  # the caller has gone
                return
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.submit(rows, probabilities, done)
        return await future

    def wake(self) -> None:
        """Dispatches once the loop has seen everything that has arrived by now."""
        if self.queue and not self.dispatching and self.running < self.most_running:
            self.dispatching = True
            self.loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        self.dispatching = False
        group = self.taken()
        if self.proven.seconds(sum(len(one.rows) for one in group)) <= MOST_INLINE:
            settle(group, answers(self.proven, group))
        else:
            self.running += 1
            running = self.loop.run_in_executor(self.executor, answers, self.proven, group)
            running.add_done_callback(lambda ended: self.finished(group, ended.result()))
        self.wake()

    def finished(self, group: Sequence[Waiting], found: Sequence[Answer | Exception]) -> None:
        self.running -= 1
        settle(group, found)
        self.wake()

    def taken(self) -> list[Waiting]:
        """The first of the queue and as many more as may be answered with it; alone where batches do not pay."""
        group = [self.queue.popleft()]
        left = self.proven.most_rows - len(group[0].rows) if self.joins(group[0]) else 0
        while self.queue and len(self.queue[0].rows) <= left and self.joins(self.queue[0]):
            group.append(self.queue.popleft())
            left -= len(group[-1].rows)
        return group


def settle(group: Sequence[Waiting], found: Sequence[Answer | Exception]) -> None:
    for one, answer in zip(group, found, strict=True):
        one.done(answer)


def answers(proven: Proven, group: Sequence[Waiting]) -> list[Answer | Exception]:
    """An answer for each; if they fail together, each is asked alone, so that only the guilty one fails."""
    if len(group) > 1 and proven.together is not None:
        try:
            return together(proven.together, group)
        except Exception:  # noqa: S110 - it shows again for the one that causes it
            pass
    return [attempt(proven, one) for one in group]


def attempt(proven: Proven, one: Waiting) -> Answer | Exception:
    try:
        return proven.engine.run(one.rows, one.probabilities)
    except Exception as error:
        return error


def together(run: Run, group: Sequence[Waiting]) -> list[Answer | Exception]:
    rows = np.concatenate([one.rows for one in group])
    predictions, probabilities = run(rows, any(one.probabilities for one in group))
    found: list[Answer | Exception] = []
    start = 0
    for one in group:
        part = slice(start, start + len(one.rows))
        wanted = probabilities is not None and one.probabilities
        found.append((predictions[part], probabilities[part] if wanted and probabilities is not None else None))
        start = part.stop
    return found
