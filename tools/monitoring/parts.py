"""Servers and Prometheus as processes that end with their context."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from loadtest.peers.ports import free_port
from monitoring.scrape import static_job

WAIT_SECONDS = 90
T = TypeVar("T")


class ProgramMissing(Exception):
    """A program that is not installed."""


@contextlib.contextmanager
def running(command: list[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        started = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def predictor(
    folder: Path, model: Path | None, version: str, *flags: str, name: str = "model"
) -> Iterator[tuple[str, str]]:
    """Runs a server; yields the addresses of its REST and gRPC ports."""
    http, grpc = free_port(), free_port()
    command = [
        sys.executable, "-m", "predictors.mlflow", "--host", "127.0.0.1", "--http-port", str(http),
        "--grpc-port", str(grpc), "--model-name", name, "--model-version", version,
        *(["--model-uri", str(model)] if model else []), *flags,
    ]  # fmt: skip
    log = folder / f"{name}-{http}.log"
    with running(command, log) as started:
        wait_for_url(f"http://127.0.0.1:{http}/v2/health/ready", started, log)
        yield f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"


@contextlib.contextmanager
def meanwhile(context: contextlib.AbstractContextManager[T]) -> Iterator[Callable[[], T]]:
    """Enters a context in the background; the block gets a function that waits for its value."""
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        entered = pool.submit(stack.enter_context, context)
        try:
            yield entered.result
        finally:
            entered.exception()


def scrape_job(namespace: str, serve: str, pod: str, target: str) -> dict[str, Any]:
    """A scrape job for a server, with the name that a pod would have."""
    job = static_job([target], namespace, serve)
    job["static_configs"][0]["labels"]["pod"] = pod
    return job | {"job_name": pod}


@contextlib.contextmanager
def prometheus(folder: Path, config: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[str]:
    """Runs Prometheus with this configuration and these rule files; yields its URL."""
    program = shutil.which("prometheus")
    if program is None:
        raise ProgramMissing("prometheus is not installed: apt-get install prometheus")
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(config), sort_keys=False))
    port, log = free_port(), folder / "prometheus.log"
    command = [
        program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with running(command, log) as started:
        wait_for_url(f"http://127.0.0.1:{port}/-/ready", started, log)
        yield f"http://127.0.0.1:{port}"


def wait_for_url(url: str, started: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the URL answers."""

    def answers() -> bool:
        if started.poll() is not None:
            raise RuntimeError(f"{started.args!r} ended: {log.read_text()}")
        try:
            return httpx.get(url).is_success
        except httpx.TransportError:
            return False

    wait_for(answers)


def wait_for(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds} s")
        time.sleep(0.05)


def save_patchy(folder: Path) -> Path:
    """Saves the unreliable model in a separate process, which hides its warnings."""
    code = (
        "import sys, mlflow\n"
        "from mlflow.types.schema import ColSpec, Schema\n"
        "from mlflow.models import ModelSignature\n"
        "signature = ModelSignature(Schema([ColSpec('double', 'seconds')]), Schema([ColSpec('double')]))\n"
        "mlflow.pyfunc.save_model(\n"
        "    sys.argv[1], python_model=sys.argv[2], signature=signature, pip_requirements=['mlflow']\n"
        ")\n"
    )
    target = folder / "patchy"
    command = [sys.executable, "-c", code, str(target), str(Path(__file__).with_name("patchy.py"))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return target


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The result of a Prometheus query; raises with its message if the query is invalid."""
    reply = httpx.post(f"{url}/api/v1/query", data={"query": query}, timeout=30)
    content = json.loads(reply.text)
    if content["status"] != "success":
        raise ValueError(f"{query}: {content['error']}")
    result = content["data"]["result"]
    if content["data"]["resultType"] == "scalar":
        return [{"metric": {}, "value": result}]
    listed: list[dict[str, Any]] = result
    return listed
