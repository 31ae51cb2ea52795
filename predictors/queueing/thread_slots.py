"""Threads for work that would block the event loop: decoding large requests, and models without an engine.

Python runs one thread at a time, so while threads compute, every iteration of the event loop waits for them. Threads
therefore do not pull work from a queue: the event loop hands it out once it has handled everything that has arrived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, local
from typing import Any, TypeVar

from predictors.protocol.errors import Abandoned

T = TypeVar("T")
current = local()
"""`job` is the one that this thread runs."""


def stop_if_abandoned() -> None:
    """Ends work that nobody waits for any more; called between its steps, in the thread that runs it."""
    job: Job | None = getattr(current, "job", None)
    if job is not None and job.on_end is not None:
        raise Abandoned


class PredictionThreads(ThreadPoolExecutor):
    """A thread pool that counts the work that is submitted and not yet started."""

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


class Job:
    """A call that waits or runs."""

    __slots__ = ("future", "on_end", "work")

    def __init__(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.on_end: Callable[[], None] | None = None
        """Set once the work has been abandoned while it ran."""


class ThreadSlots:
    """Used on the event loop only, except `_run`."""

    def __init__(self, executor: Executor, threads: int) -> None:
        self.executor = executor
        self.threads = threads
        self.waiting: deque[Job] = deque()
        self.running: set[Job] = set()

    async def run(self, work: Callable[[], Any], abandoned: Callable[[], Callable[[], None]]) -> Any:
        """Runs `work` in a thread and returns its result.

        If the caller is cancelled, work that waits is dropped. Work that already runs goes on until its next call of
        `stop_if_abandoned`: `abandoned` is called at once, and the function that it returns when the work ends.
        """
        job = Job(work, asyncio.get_running_loop().create_future())
        self.waiting.append(job)
        self.dispatch()
        try:
            return await job.future
        except asyncio.CancelledError:
            if job in self.running:
                job.on_end = abandoned()
            elif job in self.waiting:
                self.waiting.remove(job)
            raise

    def dispatch(self) -> None:
        while self.waiting and len(self.running) < self.threads:
            job = self.waiting.popleft()
            if job.future.done():
                continue
            self.running.add(job)
            try:
                self.executor.submit(self._run, job, asyncio.get_running_loop())
            except RuntimeError as error:  # the server has ended
                self.running.discard(job)
                job.future.set_exception(error)

    def _run(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        result: Any = None
        failure: BaseException | None = None
        current.job = job
        try:
            result = job.work()
        except BaseException as error:  # raised again in the task that waits
            ordinary = isinstance(error, Exception) and not isinstance(error, StopIteration)
            failure = error if ordinary else RuntimeError(repr(error))
        current.job = None
        with suppress(RuntimeError):  # the loop has ended first
            loop.call_soon_threadsafe(self._ended, job, result, failure)
        del failure  # it refers to this frame, and to all that the work held

    def _ended(self, job: Job, result: Any, failure: BaseException | None) -> None:
        self.running.discard(job)
        if job.on_end is not None:
            job.on_end()
        if not job.future.done():
            if failure is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(failure)
        if self.waiting:
            # Deferred: the event loop first handles everything that has arrived, while no thread computes.
            asyncio.get_running_loop().call_soon(self.dispatch)
