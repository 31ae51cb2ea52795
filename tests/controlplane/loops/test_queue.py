"""The queue: each key once, at the earliest of its times, and never with two workers."""

from __future__ import annotations

import threading

from controlplane.loops.queue import DelayQueue
from tests.serving import wait_for


class Times:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_due_once_at_its_earliest_time() -> None:
    times = Times()
    queue: DelayQueue[str] = DelayQueue(times)
    queue.add("a", 130)
    queue.add("a", 110)
    queue.add("a", 120)
    assert queue.next() == (None, 10.0)
    times.now = 111
    assert queue.get() == "a"
    queue.done("a")
    assert queue.next() == (None, None)


def test_two_workers_never_have_one_key() -> None:
    queue: DelayQueue[str] = DelayQueue(Times())
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert queue.get() == "b"
    assert queue.next() == (None, None)
    queue.done("a")
    assert queue.get() == "a"


def test_closing_lets_workers_go() -> None:
    queue: DelayQueue[str] = DelayQueue(Times())
    got: list[str | None] = []
    worker = threading.Thread(target=lambda: got.append(queue.get()))
    worker.start()
    queue.close()
    worker.join(10)
    assert got == [None]


def test_a_worker_wakes_for_a_new_key() -> None:
    queue: DelayQueue[str] = DelayQueue(Times())
    got: list[str | None] = []
    worker = threading.Thread(target=lambda: got.append(queue.get()))
    worker.start()
    queue.add("late", 10_000)
    queue.add("now")
    wait_for(lambda: got == ["now"], seconds=10)
    worker.join(10)
    assert len(queue) == 1
