"""An executor for calls that may hang and cannot be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """Unlike ThreadPoolExecutor's, these threads do not keep the process from ending."""

    def __init__(self, threads: int, name: str) -> None:
        self.threads = threads
        self.name = name
        self.started = 0
        self.idle = threading.Semaphore(0)
        self.queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # raised where the result is awaited
                future.set_exception(error)

        self.queue.put(run)
        # A thread that has just worked is faster than one that has slept.
        if not self.idle.acquire(blocking=False) and self.started < self.threads:
            self.started += 1
            threading.Thread(target=self.work, name=f"{self.name}-{self.started}", daemon=True).start()
        return future

    def work(self) -> None:
        while (run := self.queue.get()) is not None:
            run()
            self.idle.release()

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Never waits, since threads may hang."""
        for _ in range(self.started):
            self.queue.put(None)
