"""Work beside the requests that may never end, such as the loading of a model: each has a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundWork:
    """Threads that nobody can stop, that hold nobody up, and that do not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.running: set[Future[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether a thread is at work, also for somebody who waits no more."""
        return bool(self.running)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of the work. It goes on if the caller is cancelled."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from now on nobody can cancel it
        self.running.add(future)

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # raised where the result is awaited
                self.running.discard(future)
                future.set_exception(error)
            else:
                self.running.discard(future)
                future.set_result(result)

        threading.Thread(target=run, name=self.name, daemon=True).start()
        return await asyncio.wrap_future(future)
