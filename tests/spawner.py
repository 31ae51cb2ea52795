"""Programs started as forks of a process that has imported the libraries they need, which saves each a second of CPU.

tests/preloaded.py is that process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any


class Forked:
    """A process of the spawner; it is handled like one of `subprocess`."""

    def __init__(self, args: Sequence[str], status: int) -> None:
        self.args = args
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()
        self.pid = int.from_bytes(os.read(status, 4), "little")

    def poll(self) -> int | None:
        return self._result(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._result(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _result(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                self.returncode = int.from_bytes(os.read(self._status, 4), "little", signed=True)
                os.close(self._status)
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended, and its parent reports that next
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    module: str,
    *args: str,
    output: IO[bytes],
    input: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    dependent: bool = False,
) -> Forked:
    """Does `python -m module …` in this process's folder and environment, if no others are given.

    A dependent one leads a process group, and ends with this process.
    """
    variables = dict(os.environ if env is None else env)
    task = {"module": module, "args": args, "env": variables, "folder": str(folder or Path.cwd())}
    status, reported = os.pipe()
    way = spawner()
    with Path(os.devnull).open("rb") as nothing:
        descriptors = [(input or nothing).fileno(), output.fileno(), reported, way.fileno()]
        try:
            socket.send_fds(way, [json.dumps(task | {"dependent": dependent}).encode()], descriptors)
        finally:
            os.close(reported)
    return Forked([sys.executable, "-m", module, *args], status)


@functools.cache
def spawner() -> socket.socket:
    """The way to the one spawner of this process, with which it ends."""
    if inherited:
        return inherited[0]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, "-m", "tests.preloaded", str(theirs.fileno())], cwd=Path(__file__).parents[1],
        pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    return ours


TRIAL = ["-P", "-m", "predictors.reload.trial_process"]


class TrialsForked(subprocess.Popen):  # type: ignore[type-arg]
    """Starts programs, and as forks the trials of new versions: of all servers but the cold ones."""

    def __new__(cls, command: Sequence[str], *more: Any, **options: Any) -> Any:
        if list(command[1:4]) != TRIAL:
            return super().__new__(cls)
        module, *arguments = command[3:]
        with os.fdopen(os.dup(1), "wb") as output:
            return start(
                module, *arguments, output=output, input=options["stdin"], env=options["env"], dependent=True
            )  # fmt: skip


inherited: list[socket.socket] = []
"""In a program that is a fork: the way to the process that it was forked from."""
