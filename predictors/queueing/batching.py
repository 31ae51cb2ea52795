"""Requests that wait are answered together: one call of the engine costs little more for sixteen rows than for one.

Nobody waits for company. What has arrived goes at once; what arrives while the engine is at work goes together next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeAlias

from predictors.engines.engine import Answer, Declined, ProvenEngine, RunJoint
from predictors.protocol.casting import Array
from predictors.runtime.cpus import cpu_limit

log = logging.getLogger("predictors")

Done: TypeAlias = "Callable[[Answer | Exception], None]"
# Seconds: what takes no longer is done on the event loop. With one CPU a thread would only take turns with it.
MAX_INLINE, MAX_INLINE_ALONE = 0.001, 0.01


@dataclass(slots=True, eq=False)
class Waiting:
    rows: Array
    probabilities: bool
    done: Done
    given_up: Callable[[], bool]
    """Whether nobody waits for the answer any more."""


class GivenUp(Exception):
    """What `done` gets for rows that nobody waited for any more when their turn came."""


def never() -> bool:
    return False


class MicroBatcher:
    """The way of small requests to one proven engine; for the event loop only."""

    def __init__(
        self, proven: ProvenEngine, loop: asyncio.AbstractEventLoop, executor: Executor, most_running: int
    ) -> None:
        self.proven = proven
        self.loop = loop
        self.executor = executor
        self.most_running = most_running
        """How many batches may be computed in threads at a time."""
        self.most_inline = MAX_INLINE_ALONE if cpu_limit() == 1 else MAX_INLINE
        self.running = 0
        self.queue: deque[Waiting] = deque()
        self.dispatching = False

    def soon(self, rows: Array) -> bool:
        """Whether rows are answered within this turn of the event loop, so that they need not wait for anybody."""
        return self.proven.seconds(len(rows)) <= self.most_inline and (self.running == 0 or self.proven.joint is None)

    def submit(self, rows: Array, probabilities: bool, done: Done, given_up: Callable[[], bool] = never) -> None:
        """`done` gets the answer, or whatever the engine raises for these rows, whoever else was in their batch."""
        waiting = Waiting(rows, probabilities, done, given_up)
        if self.proven.joint is None and self.proven.seconds(len(rows)) <= self.most_inline:
            settle((waiting,), (attempt(self.proven, waiting),))
            return
        self.queue.append(waiting)
        self.wake()

    async def answer(self, rows: Array, probabilities: bool) -> Answer:
        future: asyncio.Future[Answer] = self.loop.create_future()

        def done(answer: Answer | Exception) -> None:
            if future.done():  # the caller has gone
                return
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.submit(rows, probabilities, done, future.done)
        return await future

    def wake(self) -> None:
        """Dispatches once the loop has seen everything that has arrived by now."""
        if self.queue and not self.dispatching and self.running < self.most_running:
            self.dispatching = True
            self.loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        self.dispatching = False
        group = self.taken()
        if not group:
            return
        if self.proven.seconds(sum(len(one.rows) for one in group)) <= self.most_inline:
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
        group: list[Waiting] = []
        left = 0
        while self.queue and (not group or len(self.queue[0].rows) <= left):
            one = self.queue.popleft()
            if one.given_up():
                settle((one,), (GivenUp(),))
                continue
            left = (left if group else self.proven.max_rows if self.proven.joint else 0) - len(one.rows)
            group.append(one)
        return group


def settle(group: Sequence[Waiting], found: Sequence[Answer | Exception]) -> None:
    for one, answer in zip(group, found, strict=True):
        try:
            one.done(answer)
        except Exception:
            log.exception("a reply failed")  # the others get theirs


def answers(proven: ProvenEngine, group: Sequence[Waiting]) -> list[Answer | Exception]:
    """An answer for each; if they fail together, each is asked alone, so that only the guilty one fails."""
    if len(group) > 1 and proven.joint is not None:
        try:
            return together(proven.joint, group)
        except (Exception, SystemExit):  # noqa: S110 - it shows again for the one that causes it
            pass
    return [attempt(proven, one) for one in group]


def attempt(proven: ProvenEngine, one: Waiting) -> Answer | Exception:
    try:
        return proven.engine.run(one.rows, one.probabilities)
    except Exception as error:
        return error
    except SystemExit:  # the code of others must not end the server
        return Declined()


def together(run: RunJoint, group: Sequence[Waiting]) -> list[Answer | Exception]:
    predictions, probabilities = run([one.rows for one in group], any(one.probabilities for one in group))
    found: list[Answer | Exception] = []
    start = 0
    for one in group:
        part = slice(start, start + len(one.rows))
        wanted = probabilities is not None and one.probabilities
        found.append((predictions[part], probabilities[part] if wanted and probabilities is not None else None))
        start = part.stop
    return found
