"""Processes of this machine that outlive the control plane, and are known again by what their environment says.

Between the start of a process and the note of its pid the control plane may be killed. Each process therefore carries a
mark in its environment that was recorded before the start, and the next control plane finds it by this mark.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "MLFLOW_KSERVE_INSTANCE"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process: a pid alone may be that of another one by now."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def runs(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(float(process.create_time()) - self.created) < 0.1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def terminate(self) -> None:
        """Asks it to end; a server drains first."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, with all processes that it started."""
        if self.runs():
            try:
                os.killpg(self.pid, signal.SIGKILL)  # it leads a session of its own
            except (ProcessLookupError, PermissionError):
                self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        if self.runs():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass


def spawn(command: Sequence[str], environ: Mapping[str, str], mark: str, log: Path) -> ProcessId:
    """Starts a process that leads a session of its own, and writes to a log file."""
    with log.open("ab") as output:
        started = subprocess.Popen(  # noqa: S603 - our own command
            list(command),
            env={**environ, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
        )
    started.returncode = 0  # it is reaped by pid: whoever adopts it has no such object either
    created = ProcessId.of(started.pid)
    return created or ProcessId(started.pid, 0.0)


def marked(mark: str) -> ProcessId | None:
    """The process with a mark, if one runs: the leader of its session, since its children inherit the mark."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and os.getsid(process.pid) == process.pid:
                process_id = ProcessId(process.pid, process.create_time())
                if process_id.runs():
                    return process_id
        except (psutil.Error, OSError):
            continue
    return None


def reap(pid: int) -> None:
    """Lets a child that has ended go; others are not ours to wait for."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


class ProcessWatch:
    """Calls back when a process ends, without polling: the system tells, where it can."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self.ended = ended
        self.poll = select.poll()
        self.lock = threading.Lock()
        self.watched: dict[int, tuple[ProcessId, str]] = {}
        self.wakeup, self.waker = os.pipe()
        self.poll.register(self.wakeup, select.POLLIN)
        self.closed = False
        self.thread = threading.Thread(target=self.run, name="processes", daemon=True)
        self.thread.start()

    def add(self, process: ProcessId, name: str) -> None:
        """Watches a process; `ended` is called with the name, at once if it has ended already."""
        with self.lock:
            if self.closed or any(known == process for known, _ in self.watched.values()):
                return
            if not hasattr(os, "pidfd_open"):  # on other systems than Linux the full look finds what has ended
                return
            try:
                descriptor = os.pidfd_open(process.pid)
            except ProcessLookupError:
                descriptor = -1
            if descriptor >= 0 and not process.runs():
                os.close(descriptor)
                descriptor = -1
            if descriptor >= 0:
                self.watched[descriptor] = process, name
                self.poll.register(descriptor, select.POLLIN)
        if descriptor < 0:
            reap(process.pid)
            self.ended(name)
        else:
            os.write(self.waker, b"+")

    def run(self) -> None:
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor == self.wakeup:
                    os.read(self.wakeup, 4096)
                    if self.closed:
                        return
                    continue
                with self.lock:
                    self.poll.unregister(descriptor)
                    process, name = self.watched.pop(descriptor)
                    os.close(descriptor)
                reap(process.pid)
                self.ended(name)

    def close(self) -> None:
        with self.lock:
            self.closed = True
        os.write(self.waker, b".")
        self.thread.join()
        for descriptor in (*self.watched, self.wakeup, self.waker):
            os.close(descriptor)


def python(module: str, *flags: str) -> list[str]:
    """A command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *flags]
