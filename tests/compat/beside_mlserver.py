"""A real MLServer with a model, in the environment that `python -m loadtest.peers --set-up mlserver` sets up."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from loadtest.peers import envs
from loadtest.peers.ports import free_port
from tests.serving import answers, wait_for

NAME = "model"


def python() -> Path | None:
    """Its interpreter; None if it is not set up here."""
    try:
        return envs.python_of(envs.MLSERVER, may_install=False)
    except envs.PeerUnavailable:
        return None


@contextlib.contextmanager
def mlserver(model: Path, folder: Path) -> Iterator[httpx.Client]:
    interpreter = python()
    assert interpreter is not None
    http, grpc, metrics = free_port(), free_port(), free_port()
    settings: dict[str, Any] = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    described = {"name": NAME, "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": str(model)}}
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    (folder / "model-settings.json").write_text(json.dumps(described))
    log = folder / "log"
    path = f"{interpreter.parent}:{os.environ['PATH']}"
    with log.open("wb") as out:
        command = [str(interpreter.parent / "mlserver"), "start", str(folder)]
        started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "PATH": path})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=60) as client:
            wait_for(
                lambda: answers(client, f"/v2/models/{NAME}/ready") == 200,
                lambda: started.poll() is not None and log.read_text(),
            )
            yield client
    finally:
        started.terminate()
        started.wait(30)
