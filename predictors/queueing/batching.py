"""Waiting requests are answered in batches: an engine call costs little more for sixteen rows than for one.

No request is delayed to fill a batch. Requests run as soon as the engine is free; those that arrive while it is busy
form the next batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeAlias

from predictors.engines.answers import part_of
from predictors.engines.engine import Answer, Declined, ProvenEngine, RunJoint
from predictors.protocol.casting import Array
from predictors.runtime.cpus import cpu_limit

log = logging.getLogger("predictors")

Done: TypeAlias = "Callable[[Answer | Exception], None]"
# Shorter engine calls run on the event loop. With one CPU a thread would only compete with it.
MAX_INLINE_SECONDS, MAX_INLINE_SECONDS_ONE_CPU = 0.001, 0.01


@dataclass(slots=True, eq=False)
class Waiting:
    rows: Array
    probabilities: bool
    done: Done
    given_up: Callable[[], bool]
    """Whether the caller no longer waits for the answer."""


class GivenUp(Exception):
    """Passed to `done` for rows whose caller was gone before they were run."""


def never() -> bool:
    return False


class MicroBatcher:
    """Batches small requests for one proven engine; used on the event loop only."""

    def __init__(
        self, proven: ProvenEngine, loop: asyncio.AbstractEventLoop, executor: Executor, max_running: int
    ) -> None:
        self.proven = proven
        self.loop = loop
        self.executor = executor
        self.max_running = max_running
        """How many batches may run in threads at a time."""
        self.max_inline = MAX_INLINE_SECONDS_ONE_CPU if cpu_limit() == 1 else MAX_INLINE_SECONDS
        self.running = 0
        self.queue: deque[Waiting] = deque()
        self.dispatching = False

    def soon(self, rows: Array) -> bool:
        """Whether rows are answered in this iteration of the event loop, without waiting for a batch."""
        return self.proven.seconds(len(rows)) <= self.max_inline and (self.running == 0 or self.proven.joint is None)

    def submit(self, rows: Array, probabilities: bool, done: Done, given_up: Callable[[], bool] = never) -> None:
        """`done` gets the answer, or the exception for these rows alone, whatever else was in their batch."""
        waiting = Waiting(rows, probabilities, done, given_up)
        if self.proven.joint is None and self.proven.seconds(len(rows)) <= self.max_inline:
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
        """Dispatches once the loop has handled everything that has arrived so far."""
        if self.queue and not self.dispatching and self.running < self.max_running:
            self.dispatching = True
            self.loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        self.dispatching = False
        group = self.next_group()
        if not group:
            return
        if self.proven.seconds(sum(len(one.rows) for one in group)) <= self.max_inline:
            settle(group, answers(self.proven, group))
        else:
            self.running += 1
            running = self.loop.run_in_executor(self.executor, answers, self.proven, group)
            running.add_done_callback(lambda ended: self.finished(group, ended.result()))
        self.wake()

    def finished(self, group: Sequence[Waiting], results: Sequence[Answer | Exception]) -> None:
        self.running -= 1
        settle(group, results)
        self.wake()

    def next_group(self) -> list[Waiting]:
        """Removes the head of the queue and the entries that fit into its batch; the head alone without joint runs."""
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


def settle(group: Sequence[Waiting], results: Sequence[Answer | Exception]) -> None:
    for one, answer in zip(group, results, strict=True):
        try:
            one.done(answer)
        except Exception:
            log.exception("a reply failed")  # the other entries still get their replies


def answers(proven: ProvenEngine, group: Sequence[Waiting]) -> list[Answer | Exception]:
    """One answer per entry; if the batch fails, each entry runs alone, so that only the faulty one fails."""
    if len(group) > 1 and proven.joint is not None:
        try:
            return together(proven.joint, group)
        except (Exception, SystemExit):  # noqa: S110 - it is raised again for the faulty entry
            pass
    return [attempt(proven, one) for one in group]


def attempt(proven: ProvenEngine, one: Waiting) -> Answer | Exception:
    try:
        return proven.engine.run(one.rows, one.probabilities)
    except Exception as error:
        return error
    except SystemExit:  # a model's code must not end the server
        return Declined()


def together(run: RunJoint, group: Sequence[Waiting]) -> list[Answer | Exception]:
    predictions, probabilities = run([one.rows for one in group], any(one.probabilities for one in group))
    results: list[Answer | Exception] = []
    start = 0
    for one in group:
        part = slice(start, start + len(one.rows))
        wanted = probabilities is not None and one.probabilities
        results.append(
            (part_of(predictions, part), probabilities[part] if wanted and probabilities is not None else None)
        )
        start = part.stop
    return results
