"""A limit for what waits for others: who sends a byte now and then never reaches the limits of clients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, thread, wait
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

    before = set(threading.enumerate())
    threading.Thread(target=run, name=name, daemon=True).start()
    done, _ = wait([result], seconds or None)
    if not done:
        result.add_done_callback(ended_late)
        leave_alone(before)
        raise OutOfTime
    return result.result()


def leave_alone(before: set[threading.Thread]) -> None:
    """Has the interpreter end without those threads of pools that have begun since: it would wait for them."""
    pools = vars(thread)["_threads_queues"]
    for one in set(threading.enumerate()) - before:
        pools.pop(one, None)
