"""A limit for what waits for others: who sends a byte now and then never reaches the limits of clients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


class OutOfTime(TimeoutError):
    """The work goes on, and nobody waits for it."""


def in_time(work: Callable[[], T], seconds: float, name: str, late: Callable[[T], object] = lambda _: None) -> T:
    """The result of `work`; raises OutOfTime after so many seconds, 0 for never.

    Its thread is left alone then, and `late` gets what it still comes to.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # raised where the result is waited for
            result.set_exception(error)

    def ended_late(_: Future[T]) -> None:
        if result.exception() is None:
            late(result.result())

    threading.Thread(target=run, name=name, daemon=True).start()
    done, _ = wait([result], seconds or None)
    if not done:
        result.add_done_callback(ended_late)
        raise OutOfTime
    return result.result()
