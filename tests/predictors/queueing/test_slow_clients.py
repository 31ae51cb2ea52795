"""Which clients are too slow."""

from __future__ import annotations

import threading

from predictors.queueing.slow_clients import MIN_RATE, Arrival, Backlog
from predictors.queueing.thread_slots import PredictionThreads
from tests.serving import wait_for


def test_an_arrival_counts_from_the_first_check_that_sees_it() -> None:
    arrival = Arrival()
    assert [arrival.is_slow(now, 0, 2) for now in (100, 101, 102, 102.1)] == [False, False, False, True]
    arrival.begin()
    assert [arrival.is_slow(now, 0, 2) for now in (103, 105)] == [False, False]
    arrival.end()
    assert not arrival.is_slow(1000, 0, 2)


def test_more_bytes_may_take_longer() -> None:
    arrival = Arrival()
    assert [arrival.is_slow(now, 3 * MIN_RATE, 2) for now in (0, 5, 5.1)] == [False, False, True]


def test_a_backlog_is_stuck_if_nothing_of_it_is_read() -> None:
    backlog = Backlog()
    sizes = [(0, 10), (3, 10), (4, 9), (6, 9), (7.1, 9)]
    assert [backlog.is_stuck(now, size, 3) for now, size in sizes] == [False, False, False, False, True]
    assert not backlog.is_stuck(8, 0, 3)
    assert not backlog.is_stuck(100, 9, 3)


def test_threads_count_the_work_that_has_not_begun() -> None:
    gate = threading.Event()
    with PredictionThreads(1) as threads:
        running, waiting, cancelled = (threads.submit(gate.wait, 30) for _ in range(3))
        wait_for(lambda: threads.queued == 2, seconds=30)
        assert cancelled.cancel()
        assert threads.queued == 1
        gate.set()
        assert (running.result(30), waiting.result(30), threads.queued) == (True, True, 0)
