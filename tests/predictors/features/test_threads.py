"""Threads for what may hang: bounded, no more than needed, and never in the way of the end."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from predictors.features.threads import DaemonThreads
from tests.serving import wait_for


def test_results_and_errors() -> None:
    threads = DaemonThreads(2, "test")
    assert threads.submit(pow, 2, 5).result(10) == 32
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    threads.shutdown()


def test_there_are_as_many_as_work_at_once_and_no_more_than_allowed() -> None:
    threads = DaemonThreads(3, "test")
    for _ in range(20):
        threads.submit(int).result(10)
        wait_for(lambda: threads.idle._value == threads.started)  # it is told after the result
    assert threads.started == 1
    gate = threading.Event()
    waiting = [threads.submit(gate.wait, 30) for _ in range(6)]
    assert threads.started == 3
    assert not any(one.done() for one in waiting)
    gate.set()
    assert all(one.result(10) for one in waiting)
    threads.shutdown()
    wait_for(lambda: not [one for one in threading.enumerate() if one.name.startswith("test-")])


def test_the_process_ends_while_one_hangs() -> None:
    script = """
import threading
from predictors.features.threads import DaemonThreads
threads = DaemonThreads(1, "hangs")
begun = threading.Event()
threads.submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
threads.shutdown()
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
