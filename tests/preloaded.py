"""The process that the spawner forks programs from: it imports libraries, and then waits for tasks.

Our own packages, and libraries that read settings when they are imported, are imported by each program itself.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests import spawner

LIBRARIES = (
    "alembic.command", "cloudevents.http", "fastapi.testclient", "flask", "google.protobuf", "graphene", "grpc",
    "grpc_health.v1.health_pb2", "hpack", "httptools", "httpx", "joblib",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store", "numpy", "orjson",
    "pandas", "psutil", "pyarrow.parquet", "pydantic", "requests", "rich", "scipy.linalg", "scipy.sparse",
    "scipy.special", "sklearn.linear_model", "sklearn.pipeline", "sqlalchemy.orm", "uvicorn", "uvloop", "yaml",
)  # fmt: skip
MAX_REQUEST = 1 << 18


def preload() -> None:
    from predictors.runtime.lazy_imports import defer_import
    from predictors.runtime.mlflow_plugins import leave_out_feast

    importlib.import_module("scipy")
    defer_import("scipy.stats")
    leave_out_feast()
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("predictors", "prometheus_client")]:
        del sys.modules[name]
    gc.freeze()


@dataclass(frozen=True)
class ForkedProgram:
    """A fork, and who is told how it ends."""

    pid: int
    end: int
    status: int


def next_task(requests: socket.socket) -> dict[str, Any]:
    """Returns in a new process for each task; the spawner itself never leaves it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is requests:
                if (task := fork_next(requests, selector)) is not None:
                    return task
            elif key.fd == key.data.end:
                report_end(key.data, selector)
            elif key.fd in selector.get_map():  # nobody waits for it any more
                selector.unregister(key.fd)
                os.kill(key.data.pid, signal.SIGTERM)


def fork_next(requests: socket.socket, selector: selectors.BaseSelector) -> dict[str, Any] | None:
    """The task, in the process that is to do it."""
    request, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST, 4, socket.MSG_CMSG_CLOEXEC)
    if not request:
        os._exit(0)
    task: dict[str, Any] = json.loads(request)
    given, output, status, way = descriptors
    pid = os.fork()
    if pid == 0:
        become(given, output, [requests.fileno(), status, *opened_by(selector)])
        selector.close()
        requests.detach()
        spawner.inherited.append(socket.socket(fileno=way))
        return task
    for descriptor in (given, output, way):
        os.close(descriptor)
    program = ForkedProgram(pid, os.pidfd_open(pid), status)
    selector.register(program.end, selectors.EVENT_READ, program)
    if task["dependent"]:
        os.setpgid(pid, pid)
        selector.register(status, selectors.EVENT_READ, program)
    report(status, pid.to_bytes(4, "little"))
    return None


def report_end(program: ForkedProgram, selector: selectors.BaseSelector) -> None:
    for descriptor in {program.end, program.status} & set(selector.get_map()):
        selector.unregister(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(program.pid, 0)[1])
    report(program.status, code.to_bytes(4, "little", signed=True))
    os.close(program.end)
    os.close(program.status)


def report(status: int, content: bytes) -> None:
    try:
        os.write(status, content)
    except BrokenPipeError:
        pass  # nobody waits for it any more


def opened_by(selector: selectors.BaseSelector) -> set[int]:
    programs = [key.data for key in selector.get_map().values() if key.data is not None]
    return {descriptor for program in programs for descriptor in (program.end, program.status)}


def become(given: int, output: int, closed: Iterable[int]) -> None:
    """Leaves nothing of the spawner but what it has imported."""
    os.dup2(given, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor in (given, output, *closed):
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(task: Mapping[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(task["env"])
    os.chdir(task["folder"])
    tempfile.tempdir = None
    sys.path[0] = task["folder"]
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [task["module"], *task["args"]]
    vars(subprocess)["Popen"] = spawner.TrialsForked
    runpy.run_module(task["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    preload()
    run(next_task(socket.socket(fileno=int(sys.argv[1]))))
