"""Several worker processes on the same ports: forked, watched, replaced; one download and one scrape for all."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

from predictors.processes.shared_state import SharedState
from predictors.telemetry import logs
from predictors.telemetry.metrics import forget_process

log = logging.getLogger("predictors")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
GREETER, FETCHER, UNDERSTUDY, NOBODY = -1, -2, -3, -4
LOOK = 1.0  # seconds between looks at the workers
LONG_LIFE = 10.0  # seconds; a worker that ends sooner may end again
MAX_PAUSE = 30.0  # seconds before it is started again


class WorkerSupervisor:
    """The processes that the first one has forked; signals to it are passed on to them."""

    def __init__(self, shared: SharedState, timeout: float, leaving: Callable[[], None]) -> None:
        self.shared = shared
        self.leaving = leaving
        """Called when the end has begun and no worker will be started any more."""
        self.timeout = timeout
        """Seconds that a worker may stand still; 0 for as long as it likes."""
        self.running: dict[int, int] = {}
        """Worker numbers by process id; others have negative ones."""
        self.started: dict[int, float] = {}
        self.failures: dict[int, int] = {}
        self.due: dict[int, float] = {}
        """When which worker is to be started again."""
        self.beats: dict[int, tuple[float, int]] = {}
        """By process: its last sign of life, and how often it has not changed since."""
        self.stopped = threading.Event()
        self.hurried = 0
        """The second signal, if there was one."""
        self.lifeline, self.held = os.pipe()
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in SIGNALS:
            signal.signal(number, self.forward)

    def forward(self, number: int, frame: object) -> None:
        """To all workers; the second one ends them."""
        if self.stopped.is_set():
            self.hurried = number
        self.stopped.set()
        signal_all(self.running, signal.SIGKILL if self.hurried else number)
        self.leaving()

    def start(self, index: int, work: Callable[[int], int]) -> None:
        self.shared.lifeline = self.lifeline
        self.started[index] = time.monotonic()
        pid = fork(index, lambda index: 0 if self.stopped.is_set() else work(index), self.held)
        self.running[pid] = index
        if self.stopped.is_set():  # the signal may have come before it was in the list
            signal_all({pid: index}, signal.SIGTERM)

    def greet(self, work: Callable[[int], int]) -> None:
        """Starts a process that answers for the workers until they are all there."""
        self.shared.startup.responding = True
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
        while self.running or self.due:
            pid, status = self.next_end()
            if not pid:
                self.start_due(work)
                continue
            index = self.running.pop(pid, NOBODY)
            code = os.waitstatus_to_exitcode(status)
            if index == GREETER:
                self.shared.startup.responding = False
            if index == UNDERSTUDY:
                result = abs(code)
                signal_all(self.running, signal.SIGTERM)
            forget_process(pid)
            if index < 0:
                continue
            was_ready = bool(self.shared.worker_states[index].ready)
            self.shared.worker_ended(index)
            if self.stopped.is_set():
                result = result or max(code, 0)
            elif was_ready or self.shared.startup.complete:
                self.replace(index, code, work)
            else:
                result = abs(code) or 1
                self.stopped.set()
                signal_all(self.running, signal.SIGTERM)
        return 128 + self.hurried if self.hurried else result

    def next_end(self) -> tuple[int, int]:
        """The next process that ends and its status; a pid of 0 now and then, when others have something to do."""
        if not self.running:
            select.select([self.woken], [], [], LOOK)
            return 0, 0
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            return pid, status
        if not select.select([self.woken], [], [], LOOK)[0]:
            self.kill_hung()
            return 0, 0
        os.read(self.woken, 1024)
        return os.waitpid(-1, os.WNOHANG)

    def kill_hung(self) -> None:
        """A worker whose event loop stands still is not coming back; what it holds is lost either way."""
        if not self.timeout:
            return
        for pid, index in list(self.running.items()):
            if index < 0 or not self.shared.worker_states[index].ready:
                continue
            beat, missed = self.beats.get(pid, (0.0, 0))
            now = float(self.shared.worker_states[index].heartbeat)
            missed = missed + 1 if now == beat else 0  # counted, so that a pause of the whole machine is no sign
            self.beats[pid] = (now, missed)
            if missed * LOOK >= self.timeout:
                log.error("worker %d has shown no sign of life for %g s; it is ended", index, self.timeout)
                signal_all({pid: index}, signal.SIGKILL)

    def replace(self, index: int, code: int, work: Callable[[int], int]) -> None:
        """Another worker for one that has ended: at once, but not again and again."""
        lived = time.monotonic() - self.started.get(index, 0.0)
        self.failures[index] = 0 if lived > LONG_LIFE else self.failures.get(index, -1) + 1
        pause = min(2.0 ** self.failures[index] - 1, MAX_PAUSE)
        then = f" in {pause:g} s" if pause else ""
        log.error("worker %d ended with status %d; starting another%s", index, code, then)
        self.due[index] = time.monotonic() + pause
        self.start_due(work)

    def start_due(self, work: Callable[[int], int]) -> None:
        for index, due in list(self.due.items()):
            if self.stopped.is_set():
                del self.due[index]
            elif time.monotonic() >= due:
                del self.due[index]
                self.start(index, work)


def signal_all(running: dict[int, int], number: int) -> None:
    for pid in list(running):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def fork(index: int, work: Callable[[int], int], held: int) -> int:
    """A worker; `held` is the end of the lifeline that only the first process keeps open."""
    # A signal that came to the new process while it still has our handlers would be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    code = 1
    logs.worker = index if index >= 0 else None
    try:
        os.close(held)
        signal.set_wakeup_fd(-1)
        for number in (*SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        code = work(index)
    except KeyboardInterrupt:
        code = 0
    except BaseException:
        log.exception("worker %d failed", index)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
