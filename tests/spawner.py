"""Programs started as forks of a process that has imported the libraries they need, which saves each a second of CPU.

Our own packages, and libraries that read settings when they are imported, are imported by each program itself.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

LIBRARIES = (
    "cloudevents.http", "google.protobuf", "grpc", "grpc_health.v1.health_pb2", "hpack", "httptools", "httpx", "joblib",
    "numpy", "orjson", "pandas", "pyarrow.parquet", "pydantic", "requests", "rich", "scipy.linalg", "scipy.sparse",
    "scipy.special", "sklearn.linear_model", "sklearn.pipeline", "uvicorn", "uvloop", "yaml",
)  # fmt: skip
OF_MLFLOWS_SERVER = ("alembic", "fastapi", "flask", "graphene", "mlflow.store.tracking.sqlalchemy_store", "sqlalchemy")
MAX_REQUEST = 1 << 18


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
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    libraries: tuple[str, ...] = (),
) -> Forked:
    """Does `python -m module …` in this process's folder and environment, if no others are given.

    With `libraries` it is a fork of another process, which has imported these as well.
    """
    variables = dict(os.environ if env is None else env)
    task = {"module": module, "args": args, "env": variables, "folder": str(folder or Path.cwd())}
    status, reported = os.pipe()
    try:
        socket.send_fds(spawner(libraries), [json.dumps(task).encode()], [output.fileno(), reported])
    finally:
        os.close(reported)
    return Forked([sys.executable, "-m", module, *args], status)


@functools.cache
def spawner(libraries: tuple[str, ...]) -> socket.socket:
    """The way to the one spawner of this process that has these libraries; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, "-m", "tests.spawner", str(theirs.fileno()), *libraries], cwd=Path(__file__).parents[1],
        pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    return ours


def preload(libraries: Sequence[str]) -> None:
    from predictors.runtime.lazy_imports import defer_import
    from predictors.runtime.mlflow_plugins import leave_out_feast

    importlib.import_module("scipy")
    defer_import("scipy.stats")
    leave_out_feast()
    for name in (*LIBRARIES, *libraries):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("predictors", "prometheus_client")]:
        del sys.modules[name]
    gc.freeze()


def next_task(requests: socket.socket) -> dict[str, Any]:
    """Returns in a new process for each task; the spawner itself never leaves it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not requests:
                pid, status = key.data
                selector.unregister(key.fileobj)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                report(status, code.to_bytes(4, "little", signed=True))
                os.close(status)
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, 2)
            if not request:
                os._exit(0)
            output, status = descriptors
            pid = os.fork()
            if pid == 0:
                become(output, [requests.fileno(), status, *opened_by(selector)])
                selector.close()
                requests.detach()
                task: dict[str, Any] = json.loads(request)
                return task
            os.close(output)
            report(status, pid.to_bytes(4, "little"))
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def report(status: int, content: bytes) -> None:
    try:
        os.write(status, content)
    except BrokenPipeError:
        pass  # nobody waits for it any more


def opened_by(selector: selectors.BaseSelector) -> list[int]:
    keys = [key for key in selector.get_map().values() if key.data is not None]
    return [descriptor for key in keys for descriptor in (key.fd, key.data[1])]


def become(output: int, closed: list[int]) -> None:
    """Leaves nothing of the spawner but what it has imported."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor in (output, *closed):
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(task: Mapping[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(task["env"])
    os.chdir(task["folder"])
    tempfile.tempdir = None
    sys.path[0] = task["folder"]
    sys.argv = [task["module"], *task["args"]]
    runpy.run_module(task["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    preload(sys.argv[2:])
    run(next_task(socket.socket(fileno=int(sys.argv[1]))))
