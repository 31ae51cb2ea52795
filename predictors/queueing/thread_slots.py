"""Threads for what keeps the event loop from others: decoding large requests, and models that have no engine.

Python runs one thread at a time, and where threads compute, each turn of the event loop has to wait for them. So they
take no work from a queue by themselves: they get it from the event loop, after it has seen to all that has arrived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class PredictionThreads(ThreadPoolExecutor):
    """Threads that know how much work has been submitted and not begun."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="predict")
        self.queued = 0
        self._lock = Lock()

    def submit(self, work: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        self._count(1)

        def run() -> T:
            self._count(-1)
            return work(*args, **options)

        try:
            future = super().submit(run)
        except RuntimeError:  # the server has ended
            self._count(-1)
            raise
        future.add_done_callback(lambda future: self._count(-1) if future.cancelled() else None)
        return future

    def _count(self, change: int) -> None:
        with self._lock:
            self.queued += change


class Turn:
    """A call that waits or runs."""

    __slots__ = ("future", "when_over", "work")

    def __init__(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.when_over: Callable[[], None] | None = None


class ThreadSlots:
    """For the event loop only, but for `_run`."""

    def __init__(self, executor: Executor, threads: int) -> None:
        self.executor = executor
        self.threads = threads
        self.waiting: deque[Turn] = deque()
        self.running: set[Turn] = set()

    async def take(self, work: Callable[[], Any], abandoned: Callable[[], Callable[[], None]]) -> Any:
        """The result of `work` in a thread.

        Work that nobody waits for any more is neither begun nor kept. If it runs already, it cannot be stopped: then
        `abandoned` is called, and what that gives when the work ends.
        """
        turn = Turn(work, asyncio.get_running_loop().create_future())
        self.waiting.append(turn)
        self.dispatch()
        try:
            return await turn.future
        except asyncio.CancelledError:
            if turn in self.running:
                turn.when_over = abandoned()
            elif turn in self.waiting:
                self.waiting.remove(turn)
            raise

    def dispatch(self) -> None:
        while self.waiting and len(self.running) < self.threads:
            turn = self.waiting.popleft()
            if turn.future.done():
                continue
            self.running.add(turn)
            try:
                self.executor.submit(self._run, turn, asyncio.get_running_loop())
            except RuntimeError as error:  # the server has ended
                self.running.discard(turn)
                turn.future.set_exception(error)

    def _run(self, turn: Turn, loop: asyncio.AbstractEventLoop) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = turn.work()
        except BaseException as error:  # for whoever waits
            ordinary = isinstance(error, Exception) and not isinstance(error, StopIteration)
            failure = error if ordinary else RuntimeError(repr(error))
        with suppress(RuntimeError):  # the loop has ended first
            loop.call_soon_threadsafe(self._ended, turn, result, failure)

    def _ended(self, turn: Turn, result: Any, failure: BaseException | None) -> None:
        self.running.discard(turn)
        if turn.when_over is not None:
            turn.when_over()
        if not turn.future.done():
            if failure is None:
                turn.future.set_result(result)
            else:
                turn.future.set_exception(failure)
        if self.waiting:
            # Not at once: first the event loop takes what has arrived, while nobody computes.
            asyncio.get_running_loop().call_soon(self.dispatch)
