"""One copy of the model for all workers: the first process loads it, and the workers are forked from it.

A fork takes no threads along. So it is done only for flavors that are known to leave none behind, after a look at what
loading did leave, and the model is loaded in a thread that has ended by then: OpenMP ends its threads with the one they
worked for. The first process never starts gRPC or an event loop. Where it cannot be done, each worker loads the model.
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


def hindrance(before: set[str] | None) -> str | None:
    """Why this process may not be forked now, if so; `before` are its threads before it loaded anything."""
    found = [name for name in NOT_FORKABLE if name in sys.modules]
    if found:
        return f"{', '.join(found)} is in use"
    if before is None:
        return "this system does not tell which threads there are"
    # ONNX Runtime has one that sleeps from its import on, and that nobody misses; our sessions work without threads.
    tolerated = int("onnxruntime" in sys.modules)
    for _ in range(50):  # those that end take a moment
        if len((threads() or before) - before) <= tolerated:
            return None
        time.sleep(0.01)
    return "loading it started threads"


def threads() -> set[str] | None:
    """The threads of this process, without those of OpenBLAS: a fork ends them, and they come again when needed."""
    if not TASKS.is_dir():
        return None
    wait_for(empty_child())
    return {task.name for task in TASKS.iterdir()}


def empty_child() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


def wait_for(pid: int) -> int:
    """The exit status of a child, as a shell would show it."""
    return abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Interrupted(Exception):
    """A signal came before the work was done."""


def in_thread(work: Callable[[], T], stopped: threading.Event) -> T:
    """Does it in a thread that is gone afterwards; `stopped` ends the wait."""
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
    while not over.wait(0.05):  # signals are handled in between
        if stopped.is_set():
            raise Interrupted
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class StandbyProcess:
    """A process as this one was before it loaded anything; it takes over if this one turns out not to be forkable."""

    def __init__(self, play: Callable[[], int]) -> None:
        wake, self.cue = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(wake)
            return
        code = 0
        try:
            os.close(self.cue)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            end_with_parent()
            if os.read(wake, 1):
                code = play()
        except BaseException:
            log.exception("the server failed")
            code = 1
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)

    def dismiss(self) -> None:
        os.close(self.cue)
        wait_for(self.pid)

    def take_over(self) -> int:
        """From now on it is the one that has the workers; its process id."""
        with suppress(BrokenPipeError):  # it has had a signal
            os.write(self.cue, b"!")
        return self.pid


def end_with_parent() -> None:
    """Linux ends this process like the first one; elsewhere it stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
