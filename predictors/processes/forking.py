"""One copy of the model for all workers: the first process loads it, and the workers are forked from it.

A fork takes no threads along. It is done only for flavors that are known to leave none behind, and only if loading has
left none. The model is loaded in a thread of its own, because OpenMP ends its threads with the one that they worked
for. The first process never starts gRPC or an event loop. Where it must not be forked, each worker loads the model.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

log = logging.getLogger("predictors")
T = TypeVar("T")

FLAVORS = ("sklearn", "xgboost", "lightgbm")  # catboost keeps its threads
# Frameworks with threads, or devices, that a forked process could not use.
NOT_FORKABLE = ("torch", "tensorflow", "jax", "cupy", "cudf", "pyspark", "ray")
TASKS = Path("/proc/self/task")
PR_SET_PDEATHSIG = 1


def obstacle(before: set[str] | None) -> str | None:
    """Why this process may not be forked now, if so; `before` are its threads before it loaded anything."""
    imported = [name for name in NOT_FORKABLE if name in sys.modules]
    if imported:
        return f"{', '.join(imported)} is in use"
    if before is None:
        return "this system does not list the threads of a process"
    # ONNX Runtime has one that sleeps from its import on. A fork does without: our sessions use no threads.
    tolerated = int("onnxruntime" in sys.modules)
    for _ in range(50):  # threads that end take a moment
        if len((threads() or before) - before) <= tolerated:
            return None
        time.sleep(0.01)
    return "loading it started threads"


def threads() -> set[str] | None:
    """The threads of this process, without those of OpenBLAS: a fork ends them, and they start again when needed."""
    if not TASKS.is_dir():
        return None
    wait_for(fork_empty_child())
    return {task.name for task in TASKS.iterdir()}


def fork_empty_child() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


def wait_for(pid: int) -> int:
    """The exit status of a child, as a shell would show it."""
    return abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Interrupted(Exception):
    """A signal came before the work was done."""


def in_thread(work: Callable[[], T], stopped: threading.Event, seconds: float = 0) -> T:
    """The result of the work, done in a thread that has ended by then; `stopped` ends the wait.

    `TimeoutError` after so many seconds; 0 for never.
    """
    result: list[T] = []
    failure: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=run, daemon=True, name="load")
    thread.start()
    deadline = time.monotonic() + seconds
    while not over.wait(0.05):  # signals are handled in between
        if stopped.is_set():
            raise Interrupted
        if seconds and time.monotonic() > deadline:
            raise TimeoutError
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class StandbyProcess:
    """A copy of this process before it loads anything; it takes over if this one must not be forked afterwards."""

    def __init__(self, run: Callable[[], int]) -> None:
        wake, self.start = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(wake)
            return
        code = 0
        try:
            os.close(self.start)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            end_with_parent()
            if os.read(wake, 1):
                code = run()
        except BaseException:
            log.exception("the server failed")
            code = 1
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)

    def dismiss(self) -> None:
        """Ends it: it is not needed."""
        os.close(self.start)
        wait_for(self.pid)

    def take_over(self) -> int:
        """Has it run from now on; its process id."""
        with suppress(BrokenPipeError):  # a signal has ended it already
            os.write(self.start, b"!")
        return self.pid


def end_with_parent() -> None:
    """Has the kernel send SIGTERM when the parent ends; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
