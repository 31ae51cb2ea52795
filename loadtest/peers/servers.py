"""Starts each server on the server's core, and waits for its readiness."""

from __future__ import annotations

import json
import select
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from loadtest.peers import envs
from loadtest.peers.client import status
from loadtest.peers.models import DOUBLES, Saved
from loadtest.peers.payloads import MODEL
from loadtest.peers.place import APPS, PYTHON, ROOT, cores
from loadtest.peers.ports import free_port
from loadtest.peers.process import BenchmarkFailed, Child

_START_LIMIT = 120.0
_POLL = 0.005

OURS = "ours"
OURS_NATIVE = "ours, native engine"
OURS_PROBABILITIES = "ours, with probabilities"
OURS_DOUBLES = "ours, doubles"
OTHER = "the other checkout"
STOCK = "stock KServe"
TUNED = "stock KServe, tuned"
MLFLOW = "mlflow serve"
MLFLOW_HERE = "mlflow serve, same environment"
"""For networks, whose libraries a second environment would have to hold once more."""
MLSERVER = "MLServer"
ECHO = "raw ASGI echo"


@dataclass(slots=True)
class PeerServer:
    who: str
    child: Child
    port: int
    grpc_port: int
    ready_path: str

    def wait_ready(self) -> float:
        """Seconds from the start of the process until its readiness probe returns 200."""
        while True:
            if status(self.port, self.ready_path) == 200:
                return time.perf_counter() - self.child.started
            if self.child.exited() is not None:
                raise BenchmarkFailed(
                    f"{self.who} ended with {self.child.exited()} instead of serving:\n{self.child.tail()}"
                )
            if time.perf_counter() - self.child.started > _START_LIMIT:
                raise BenchmarkFailed(f"{self.who} was not ready after {_START_LIMIT:.0f} s:\n{self.child.tail()}")
            select.select([], [], [], _POLL)

    def stop(self) -> None:
        self.child.stop()


class Starter:
    """Starts servers, and knows which ones are available."""

    def __init__(self, work: Path, ours: Path = ROOT, *, other: Path | None = None, may_install: bool = True) -> None:
        self._work = work
        self._ours = ours
        self._other = other
        self._may_install = may_install
        self._count = 0
        self._reasons: dict[str, str | None] = {}

    def unavailable(self, who: str) -> str | None:
        """The reason why a server is not available, if any; cached."""
        if who not in self._reasons:
            self._reasons[who] = self._unavailable(who)
        return self._reasons[who]

    def _unavailable(self, who: str) -> str | None:
        try:
            if who == MLFLOW:
                envs.python_of(envs.MLFLOW, may_install=self._may_install)
            elif who == MLSERVER:
                envs.python_of(envs.MLSERVER, may_install=self._may_install)
            elif who == OURS_NATIVE and "--engine" not in _our_help(self._ours):
                return "the server measured has no --engine"
        except envs.PeerUnavailable as error:
            return str(error)
        return None

    def start(self, who: str, model: Saved, workers: int = 1) -> PeerServer:
        http, grpc, spare = free_port(), free_port(), free_port()
        extra: dict[str, str] = {}
        cwd = self._work
        if who in (OURS, OURS_NATIVE, OURS_PROBABILITIES, OURS_DOUBLES, OTHER):
            folder = model.folder.with_name(model.folder.name + DOUBLES) if who == OURS_DOUBLES else model.folder
            argv = [str(PYTHON), "-m", "predictors.mlflow", f"--model-uri={folder}", f"--model-name={MODEL}"]
            argv += [f"--http-port={http}", f"--grpc-port={grpc}", "--host=127.0.0.1", f"--workers={workers}"]
            # The peers return labels only, so the comparison uses labels only.
            argv += [] if who == OURS_PROBABILITIES else ["--probabilities=false"]
            argv += ["--engine=native"] if who == OURS_NATIVE else []
            ready = "/v2/health/ready"
            # The measured checkout comes first on Python's path.
            cwd = self._other if self._other and who == OTHER else self._ours
        elif who in (STOCK, TUNED):
            argv = [str(PYTHON), str(APPS / "stock.py"), f"--model-dir={model.folder}", f"--name={MODEL}"]
            argv += [f"--http-port={http}", f"--grpc-port={grpc}", *(["--tuned"] if who == TUNED else [])]
            ready = f"/v2/models/{MODEL}/ready"
        elif who == ECHO:
            argv = [str(PYTHON), str(APPS / "echo.py"), f"--port={http}"]
            ready = "/"
        elif who in (MLFLOW, MLFLOW_HERE):
            python = envs.python_of(envs.MLFLOW, may_install=self._may_install) if who == MLFLOW else PYTHON
            argv = [str(python), "-m", "mlflow", "models", "serve", "--env-manager=local"]
            argv += [f"--model-uri={model.folder}", "--host=127.0.0.1", f"--port={http}"]
            extra = {"PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin"}
            ready = "/ping"
        elif who == MLSERVER:
            python = envs.python_of(envs.MLSERVER, may_install=self._may_install)
            folder = self._mlserver_folder(model, http, grpc, spare)
            argv = [str(python.parent / "mlserver"), "start", str(folder)]
            ready = f"/v2/models/{MODEL}/ready"
        else:
            raise KeyError(who)
        self._count += 1
        log = self._work / f"{self._count:03}-{who.replace(' ', '-').replace(',', '')}.log"
        return PeerServer(who, Child(argv, cores()[0], log, cwd, extra), http, grpc, ready)

    def _mlserver_folder(self, model: Saved, http: int, grpc: int, metrics: int) -> Path:
        folder = self._work / f"mlserver-{http}"
        folder.mkdir()
        settings = {
            "host": "127.0.0.1",
            "http_port": http,
            "grpc_port": grpc,
            "metrics_port": metrics,
            "debug": False,
            # By default it has a separate worker process; without it MLServer is twice as fast on one core.
            "parallel_workers": 0,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        implementation = "mlserver_mlflow.MLflowRuntime"
        described = {"name": MODEL, "implementation": implementation, "parameters": {"uri": str(model.folder)}}
        (folder / "model-settings.json").write_text(json.dumps(described))
        return folder


@cache
def _our_help(ours: Path) -> str:
    argv = [str(PYTHON), "-m", "predictors.mlflow", "--help"]
    return subprocess.run(argv, cwd=ours, capture_output=True, text=True, check=False).stdout  # noqa: S603
