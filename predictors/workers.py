"""Several worker processes on the same ports: forked, watched, replaced; one download and one scrape for all."""

from __future__ import annotations

import fcntl
import logging
import os
import pickle
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from predictors.metrics import forget_process
from predictors.source import Source

log = logging.getLogger("predictors")


class Shared:
    """What workers know of each other; made before they are forked."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.flags: Any = RawArray("b", workers + 1)
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-kserve-"))
        """For what is downloaded; it goes with the first process."""
        self.lifeline: int | None = None
        """In a worker: a pipe that ends when the process that forked it does."""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def set_ready(self, index: int, ready: bool) -> None:
        self.flags[index] = int(ready)

    def all_ready(self) -> bool:
        return all(self.flags[: self.workers])

    @property
    def unloaded(self) -> bool:
        return bool(self.flags[self.workers])

    @unloaded.setter
    def unloaded(self, value: bool) -> None:
        self.flags[self.workers] = int(value)

    def once(self, find: Callable[[], Source]) -> Source:
        """The source, resolved and downloaded by the first worker that comes, for all of them."""
        kept = self.folder / "source"
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if kept.exists():
                source: Source = pickle.loads(kept.read_bytes())  # noqa: S301 - our own file, in a folder of ours
                return source
            source = find()
            kept.write_bytes(pickle.dumps(source))
            return source


def supervise(shared: Shared, work: Callable[[int], int]) -> int:
    """Keeps the workers running until a signal; one that cannot load its model ends them all."""
    running: dict[int, int] = {}
    stopping = False

    def forward(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        signal_all(running, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, forward)
    shared.lifeline, held = os.pipe()

    def start(index: int) -> None:
        running[fork(index, work, held)] = index

    for index in range(shared.workers):
        start(index)
    result = 0
    while running:
        try:
            pid, status = os.wait()
        except InterruptedError:  # pragma: no cover - Python retries by itself
            continue
        index = running.pop(pid, -1)
        if index < 0:
            continue
        forget_process(pid)
        code = os.waitstatus_to_exitcode(status)
        was_ready = bool(shared.flags[index])
        shared.set_ready(index, False)
        if stopping:
            result = result or max(code, 0)
        elif was_ready:
            log.error("worker %d ended with status %d; starting another", index, code)
            start(index)
        else:
            result, stopping = abs(code) or 1, True
            signal_all(running, signal.SIGTERM)
    return result


def signal_all(running: dict[int, int], number: int) -> None:
    for pid in list(running):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def fork(index: int, work: Callable[[int], int], held: int) -> int:
    """A worker; `held` is the end of the lifeline that only the first process keeps open."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(held)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        code = work(index)
    except KeyboardInterrupt:
        code = 0
    except BaseException:
        log.exception("worker %d failed", index)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
