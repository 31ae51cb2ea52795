"""Several worker processes on the same ports: forked, supervised and replaced."""

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
# Processes that are no workers have negative numbers.
STARTUP_RESPONDER, APART, STANDBY, UNKNOWN = -1, -2, -3, -4
CHECK_INTERVAL = 1.0  # seconds between checks for workers that hang
STABLE_SECONDS = 10.0  # a worker that ends sooner may end again
MAX_PAUSE = 30.0  # seconds before a worker is started again


class WorkerSupervisor:
    """The processes that the first one has forked; it passes signals on to them."""

    def __init__(self, shared: SharedState, timeout: float, on_stop: Callable[[], None]) -> None:
        self.shared = shared
        self.on_stop = on_stop
        """Called when the end begins: no worker is started any more."""
        self.timeout = timeout
        """Seconds that a worker may hang; 0 for as long as it likes."""
        self.running: dict[int, int] = {}
        """Worker numbers by process id."""
        self.started: dict[int, float] = {}
        self.quick_ends: dict[int, int] = {}
        """By worker: how often in a row it has ended soon after its start."""
        self.due: dict[int, float] = {}
        """By worker: when it is to be started again."""
        self.heartbeats: dict[int, tuple[float, int]] = {}
        """By process: its last heartbeat, and how many checks in a row have found no later one."""
        self.stopped = threading.Event()
        self.second_signal = 0
        self.lifeline, self.lifeline_end = os.pipe()
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGHUP, self.pass_on)
        for number in SIGNALS:
            signal.signal(number, self.forward)

    def forward(self, number: int, frame: object) -> None:
        """Passes a signal on to all workers; a second one kills them."""
        if self.stopped.is_set():
            self.second_signal = number
        self.stopped.set()
        signal_all(self.running, signal.SIGKILL if self.second_signal else number)
        self.on_stop()

    def pass_on(self, number: int, frame: object) -> None:
        """Passes a signal on that ends nothing."""
        signal_all(self.running, number)

    def start(self, index: int, work: Callable[[int], int]) -> None:
        self.shared.lifeline = self.lifeline
        self.started[index] = time.monotonic()
        pid = fork(index, lambda index: 0 if self.stopped.is_set() else work(index), self.lifeline_end)
        self.running[pid] = index
        if self.stopped.is_set():  # the signal may have come before this process was listed
            signal_all({pid: index}, signal.SIGTERM)

    def start_responder(self, work: Callable[[int], int]) -> None:
        """Starts a process that answers for the workers until all of them are ready."""
        self.shared.startup.responding = True
        self.start(STARTUP_RESPONDER, work)

    def run_apart(self, work: Callable[[int], int]) -> int:
        """Has another process do work that may start threads; its exit status."""
        self.start(APART, work)
        pid = next(pid for pid, index in self.running.items() if index == APART)
        _, status = os.waitpid(pid, 0)
        del self.running[pid]
        return os.waitstatus_to_exitcode(status)

    def supervise(self, work: Callable[[int], int]) -> int:
        """Keeps the workers running until a signal; the exit status. One that cannot load its model ends them all."""
        for index in range(self.shared.workers):
            if not self.stopped.is_set():
                self.start(index, work)
        return self.wait(work)

    def dismiss(self, code: int) -> int:
        """Ends all processes; returns `code`, the exit status."""
        self.stopped.set()
        signal_all(self.running, signal.SIGTERM)
        self.wait(lambda _: 0)
        return code

    def follow(self, pid: int) -> int:
        """Waits for a standby process that has the workers from now on; its exit status."""
        self.running[pid] = STANDBY
        return self.wait(lambda _: 0)

    def wait(self, work: Callable[[int], int]) -> int:
        """Until no process is left; the exit status."""
        result = 0
        while self.running or self.due:
            pid, status = self.next_end()
            if not pid:
                self.start_due(work)
                continue
            index = self.running.pop(pid, UNKNOWN)
            code = os.waitstatus_to_exitcode(status)
            if index == STARTUP_RESPONDER:
                self.shared.startup.responding = False
            if index == STANDBY:
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
                log.error("worker %d ended with status %d before it was ready; the start has failed", index, code)
                result = abs(code) or 1
                self.stopped.set()
                signal_all(self.running, signal.SIGTERM)
        return 128 + self.second_signal if self.second_signal else result

    def next_end(self) -> tuple[int, int]:
        """The next process that ends, and its status; a process id of 0 at least at every check."""
        if not self.running:
            select.select([self.woken], [], [], CHECK_INTERVAL)
            return 0, 0
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            return pid, status
        if not select.select([self.woken], [], [], CHECK_INTERVAL)[0]:
            self.kill_hung()
            return 0, 0
        os.read(self.woken, 1024)
        return os.waitpid(-1, os.WNOHANG)

    def kill_hung(self) -> None:
        """Kills workers whose event loop does not run: they do not recover, and their requests are lost either way."""
        if not self.timeout:
            return
        for pid, index in list(self.running.items()):
            if index < 0 or not self.shared.worker_states[index].ready:
                continue
            heartbeat = float(self.shared.worker_states[index].heartbeat)
            last, missed = self.heartbeats.get(pid, (0.0, 0))
            missed = missed + 1 if heartbeat == last else 0  # checks, not time: the whole machine may have paused
            self.heartbeats[pid] = (heartbeat, missed)
            if missed * CHECK_INTERVAL >= self.timeout:
                log.error("worker %d has shown no sign of life for %g s; it is killed", index, self.timeout)
                signal_all({pid: index}, signal.SIGKILL)

    def replace(self, index: int, code: int, work: Callable[[int], int]) -> None:
        """Starts another worker for one that has ended: at once, unless it ends again and again."""
        lived = time.monotonic() - self.started.get(index, 0.0)
        self.quick_ends[index] = 0 if lived > STABLE_SECONDS else self.quick_ends.get(index, -1) + 1
        pause = min(2.0 ** self.quick_ends[index] - 1, MAX_PAUSE)
        when = f" in {pause:g} s" if pause else ""
        log.error("worker %d ended with status %d; starting another%s", index, code, when)
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


def fork(index: int, work: Callable[[int], int], lifeline_end: int) -> int:
    """Runs the work in a new process; its id. Only the first process keeps `lifeline_end` open."""
    # A signal that came to the new process while it still has our handlers would be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    code = 1
    logs.worker = index if index >= 0 else None
    try:
        os.close(lifeline_end)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it has something to read again
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
