"""A function served on this machine, without a control plane: a process that ends with this one."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from pathlib import Path

from mlflow_kserve.client.flows import Steps
from mlflow_kserve.sdk.functions import FunctionSpec, RunOptions, variables_of
from mlflow_kserve.sdk.status import RunStatus, UnusableFunction

HOST = "127.0.0.1"
POLL_INTERVAL = 0.05
PROBE_SECONDS = 2.0
STOP_SECONDS = 40.0
"""For requests in flight; then it is killed."""
ERROR_MARK = " ERROR predictors: "


class LocalServer:
    """A predictor as a process of this machine."""

    def __init__(self, spec: FunctionSpec, options: RunOptions) -> None:
        """Raises UnusableFunction."""
        if spec.image is not None:
            raise UnusableFunction(
                f"image is {spec.image!r}: expected none, since a local run is a process of this machine"
            )
        self.served_name = spec.model_name
        self.model_uri = spec.model_uri()
        self.variables = variables_of(options)
        if options.get("secrets") or not all(isinstance(value, str) for value in self.variables.values()):
            raise UnusableFunction("secrets are those of a control plane: expected envs with values, or no local run")
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-kserve-run-"))
        self.url = ""
        atexit.register(self.end)

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> Steps[None]:
        yield from ()
        if self.process is not None and self.process.poll() is None:
            return
        port = free_port()
        self.url, self.stopped = f"http://{HOST}:{port}", False
        command = [
            sys.executable, "-P", "-m", "predictors.mlflow", "--model-uri", self.model_uri, "--model-name",
            self.served_name, "--host", HOST, "--http-port", str(port), "--grpc-port", "0",
        ]  # fmt: skip
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **self.variables},
            )  # fmt: skip

    def observe(self, wait: float) -> Steps[RunStatus]:
        yield from ()
        deadline = time.monotonic() + wait
        while not (status := self.current()).has_settled and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL)
        return status

    def current(self) -> RunStatus:
        if self.process is None:
            return RunStatus("CREATED")
        if self.stopped:
            return RunStatus("STOPPED")
        code = self.process.poll()
        if code is not None:
            return RunStatus("ERROR", message=self.last_error() or f"the server ended with status {code}")
        return RunStatus("RUNNING", {"url": self.url}) if self.is_ready() else RunStatus("PENDING")

    def is_ready(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/v2/health/ready", timeout=PROBE_SECONDS):
                return True
        except OSError:
            return False

    def last_error(self) -> str:
        errors = [line.partition(ERROR_MARK)[2] for line in self.tail(1000) if ERROR_MARK in line]
        return errors[-1] if errors else ""

    def tail(self, lines: int) -> list[str]:
        if not self.log_file.exists():
            return []
        with self.log_file.open(errors="replace") as log:
            return list(deque((line.rstrip("\n") for line in log), lines))

    def logs(self, lines: int) -> Steps[str]:
        yield from ()
        return "".join(f"{line}\n" for line in self.tail(lines))

    def stop(self) -> Steps[None]:
        yield from ()
        process = self.process
        if process is None or process.poll() is not None:
            return
        self.stopped = True
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end(self) -> None:
        """At the end of this process: nothing of the run is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port
