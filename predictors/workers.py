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
import threading
from collections.abc import Callable
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from predictors.metrics import forget_process
from predictors.source import Source

log = logging.getLogger("predictors")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
GREETER, FETCHER, UNDERSTUDY, NOBODY = -1, -2, -3, -4


class Shared:
    """What workers know of each other; made before they are forked."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.flags: Any = RawArray("b", workers + 2)
        self.text: Any = RawArray("c", 1024)
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-kserve-"))
        """For what is downloaded; it goes with the first process."""
        self.lifeline: int | None = None
        """In a worker: a pipe that ends when the process that forked it does."""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def set_ready(self, index: int, ready: bool) -> None:
        self.flags[index] = int(ready)

    def all_loaded(self) -> bool:
        return all(self.flags[: self.workers])

    def all_ready(self) -> bool:
        return self.all_loaded() and not self.greeted

    @property
    def unloaded(self) -> bool:
        return bool(self.flags[self.workers])

    @unloaded.setter
    def unloaded(self, value: bool) -> None:
        self.flags[self.workers] = int(value)

    @property
    def greeted(self) -> bool:
        """Whether another process than the workers may answer yet."""
        return bool(self.flags[self.workers + 1])

    @greeted.setter
    def greeted(self, value: bool) -> None:
        self.flags[self.workers + 1] = int(value)

    @property
    def status(self) -> str:
        """How far loading is, where one process loads for all."""
        return bytes(self.text.value).decode(errors="ignore")

    @status.setter
    def status(self, text: str) -> None:
        self.text.value = text.encode()[:1000]

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


class Crew:
    """The processes that the first one has forked; signals to it are passed on to them."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.running: dict[int, int] = {}
        """Worker numbers by process id; others have negative ones."""
        self.stopped = threading.Event()
        self.lifeline, self.held = os.pipe()
        for number in SIGNALS:
            signal.signal(number, self.forward)

    def forward(self, number: int, frame: object) -> None:
        self.stopped.set()
        signal_all(self.running, number)

    def start(self, index: int, work: Callable[[int], int]) -> None:
        self.shared.lifeline = self.lifeline
        pid = fork(index, work, self.held)
        self.running[pid] = index
        if self.stopped.is_set():  # the signal may have come before it was in the list
            signal_all({pid: index}, signal.SIGTERM)

    def greet(self, work: Callable[[int], int]) -> None:
        """Starts a process that answers for the workers until they are all there."""
        self.shared.greeted = True
        self.start(GREETER, work)

    def ask_another(self, work: Callable[[int], int]) -> int:
        """Has another process do something, because it may start threads; its exit status."""
        self.start(FETCHER, work)
        pid = next(pid for pid, index in self.running.items() if index == FETCHER)
        _, status = os.waitpid(pid, 0)
        del self.running[pid]
        return os.waitstatus_to_exitcode(status)

    def supervise(self, work: Callable[[int], int]) -> int:
        """Keeps the workers running until a signal; one that cannot load its model ends them all."""
        for index in range(self.shared.workers):
            if not self.stopped.is_set():
                self.start(index, work)
        return self.wait(work)

    def dismiss(self, code: int) -> int:
        """Ends whoever is there; the exit status, which is `code`."""
        self.stopped.set()
        signal_all(self.running, signal.SIGTERM)
        self.wait(lambda _: 0)
        return code

    def follow(self, pid: int) -> int:
        """Another process has the workers from now on; its exit status."""
        self.running[pid] = UNDERSTUDY
        return self.wait(lambda _: 0)

    def wait(self, work: Callable[[int], int]) -> int:
        result = 0
        while self.running:
            try:
                pid, status = os.wait()
            except InterruptedError:  # pragma: no cover - Python retries by itself
                continue
            index = self.running.pop(pid, NOBODY)
            code = os.waitstatus_to_exitcode(status)
            if index == GREETER:
                self.shared.greeted = False
            if index == UNDERSTUDY:
                result = abs(code)
                signal_all(self.running, signal.SIGTERM)
            forget_process(pid)
            if index < 0:
                continue
            was_ready = bool(self.shared.flags[index])
            self.shared.set_ready(index, False)
            if self.stopped.is_set():
                result = result or max(code, 0)
            elif was_ready:
                log.error("worker %d ended with status %d; starting another", index, code)
                self.start(index, work)
            else:
                result = abs(code) or 1
                self.stopped.set()
                signal_all(self.running, signal.SIGTERM)
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
        for number in SIGNALS:
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
