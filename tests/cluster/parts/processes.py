"""Programs of the cluster as processes that outlive whoever starts them. Everything here runs inside the sandbox."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.cluster.parts.places import STATE

READY_SECONDS = 90
STOP_SECONDS = 20
UNVERIFIED = ssl._create_unverified_context()  # loopback, and each part signs its own certificate


class PartFailed(Exception):
    """A part of the cluster did not start."""


def log_of(name: str) -> Path:
    return STATE / "logs" / f"{name}.log"


def pid_file(name: str) -> Path:
    return STATE / "pids" / name


def start(name: str, *command: str | Path, env: dict[str, str] | None = None) -> None:
    for file in (log_of(name), pid_file(name)):
        file.parent.mkdir(exist_ok=True)
    with log_of(name).open("ab") as log:
        started = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **(env or {})},
        )  # fmt: skip
    pid_file(name).write_text(str(started.pid))


def stop(name: str) -> None:
    pid = int(pid_file(name).read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not runs(name), f"{name} does not end", STOP_SECONDS)
    pid_file(name).unlink()


def runs(name: str) -> bool:
    """Whether it was started and has not ended; one that ended stays until the first process of the sandbox reaps it."""
    try:
        status = Path(f"/proc/{int(pid_file(name).read_text())}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=UNVERIFIED) as reply:
            return int(reply.status) < 300
    except OSError:
        return False


def wait_ready(name: str, url: str) -> None:
    def ready() -> bool:
        if not runs(name):
            raise PartFailed(f"{name} ended; the end of {log_of(name)}:\n{tail(name)}")
        return answers(url)

    wait_until(ready, f"{name} is not ready at {url}; see {log_of(name)}")


def wait_until(condition: Callable[[], bool], otherwise: str, seconds: float = READY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise PartFailed(otherwise)
        time.sleep(0.05)


def tail(name: str, lines: int = 15) -> str:
    return "\n".join(log_of(name).read_text(errors="replace").splitlines()[-lines:])
