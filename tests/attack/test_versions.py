"""Versions of a model that crash or hang while they are loaded, and a registry that fails: what is served stays."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.attack.attacked import Attacked, attacked
from tests.registry import MLFLOW_VARIABLES
from tests.serving import answers, wait_for, workers_of
from tests.zoo.case import numbers
from tests.zoo.python import save

INTERVAL = 0.5
LOAD_SECONDS = 3.0
"""More than a version of these takes to be loaded, on a busy machine."""
LOAD_TIMEOUT = 2.0
# Version 1 and 3 are good; version 2 does what the test says.
MODEL = """
import ctypes, mlflow, os, time
from pathlib import Path

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        folder, me = Path(os.environ["CONTROL"]), "{me}"
        (folder / f"{{me}}-loads-{{time.monotonic_ns()}}").touch()
        if (folder / f"{{me}}-reads-nothing").exists():
            ctypes.string_at(0)
        if (folder / f"{{me}}-exits").exists():
            os._exit(3)
        while (folder / f"{{me}}-hangs").exists():
            time.sleep(0.05)

    def predict(self, context, model_input):
        return model_input["a"] * {me}

mlflow.models.set_model(Model())
"""


@dataclass
class FakeRegistry:
    """What a server asks an MLflow registry, answered from memory: one alias, and versions in folders."""

    folder: Path
    version: int = 1
    failing: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        self.asked.append(path)
        if self.failing:
            return 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "away"}
        version = query.get("version", [str(self.version)])[0]
        source = str(self.folder / f"m{version}")
        if path.endswith("get-download-uri"):
            return 200, {"artifact_uri": source}
        about = {"name": "m", "version": version, "source": source, "status": "READY", "creation_timestamp": 1}
        return 200, {"model_version": about}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for version in range(1, 4):
        save(folder / f"m{version}", MODEL.format(me=version), data=numbers()[["a"]])
    return folder


@pytest.fixture
def registry(models: Path) -> Iterator[tuple[str, FakeRegistry]]:
    registry = FakeRegistry(models)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            status, answer = registry.answer(url.path, parse_qs(url.query))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", registry
        server.shutdown()


@dataclass
class Following:
    """A server that follows the alias, and what its versions are told to do."""

    server: Attacked
    registry: FakeRegistry
    control: Path

    def loads(self, version: int) -> int:
        return len(list(self.control.glob(f"{version}-loads-*")))

    def tell(self, deed: str) -> None:
        (self.control / deed).touch()

    @property
    def about(self) -> dict[str, Any]:
        reply = httpx.get(f"{self.server.server.running.url}/v2/models/model", timeout=10)
        return dict(reply.json()) if reply.status_code == 200 else {}

    @property
    def served(self) -> str:
        return str(self.about.get("versions", [""])[0])

    def metric(self, line: str) -> float:
        text = httpx.get(f"{self.server.server.running.url}/metrics", timeout=10).text
        return sum(float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(line))

    def check_refused(self, version: int, served: str = "1") -> None:
        """It is known to everybody that it failed, and the one before answers."""
        self.server.check_alive()
        assert self.served == served
        named = f"version {version}"
        wait_for(lambda: named in self.about.get("properties", {}).get("reload", ""), seconds=10)
        assert self.metric('model_reload_failing{model_name="model"}') == 1
        assert self.metric('model_reloads_total{model_name="model",outcome="failed"}') >= 1
        assert any(named in line and "cannot be served" in line for line in self.server.server.log.splitlines())


@pytest.fixture
def following(
    registry: tuple[str, FakeRegistry], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Following]:
    """With one worker, or as many as the test's parameter says."""
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    control, temporary = tmp_path / "control", tmp_path / "temporary"
    control.mkdir()
    temporary.mkdir()
    # A server that does not know the setting yet does not mind the variable.
    env = {"CONTROL": str(control), "TMPDIR": str(temporary), "MLFLOW_KSERVE_LOAD_TIMEOUT": str(LOAD_TIMEOUT)}
    flags = ["--model-uri", "models:/m@champion", "--tracking-uri", registry[0], "--reload-interval", str(INTERVAL)]
    flags += [
        "--workers",
        str(getattr(request, "param", 1)),
        "--engine",
        os.environ.get("MLFLOW_KSERVE_ENGINE", "auto"),
    ]
    with attacked(tmp_path, *flags, env=env) as server:
        yield Following(server, registry[1], control)


def test_a_version_that_crashes(following: Following) -> None:
    """It changes nothing, is tried less and less often, and the next one is taken."""
    following.tell("2-exits")
    following.registry.version = 2
    begin = time.monotonic()
    wait_for(lambda: following.loads(2) >= 1, seconds=20)
    following.check_refused(2)
    wait_for(lambda: time.monotonic() - begin > 8 * INTERVAL)
    assert following.loads(2) <= 4
    following.registry.version = 3
    wait_for(lambda: following.served == "3", seconds=20)
    assert following.metric('model_reload_failing{model_name="model"}') == 0
    following.tell("2-reads-nothing")
    (following.control / "2-exits").unlink()
    following.registry.version = 2
    before = following.loads(2)
    wait_for(lambda: following.loads(2) > before, seconds=20)
    following.check_refused(2, served="3")


@pytest.mark.parametrize("following", [2], indirect=True)
def test_a_version_that_crashes_with_two_workers(following: Following) -> None:
    workers = worker_pids(following)
    following.tell("2-exits")
    following.registry.version = 2
    wait_for(lambda: following.loads(2) >= 1, seconds=20)
    time.sleep(8 * INTERVAL)
    assert workers <= worker_pids(following), "a worker ended"
    assert following.loads(2) <= 4
    following.check_refused(2)


def worker_pids(following: Following) -> set[int]:
    return set(workers_of(following.server.server))


def test_a_version_that_hangs(following: Following) -> None:
    """It is given up after --load-timeout like any that fails, and the next one is taken."""
    following.tell("2-hangs")
    following.registry.version = 2
    wait_for(lambda: following.loads(2) >= 1, seconds=20)
    time.sleep(LOAD_TIMEOUT + 1)
    following.check_refused(2)
    following.registry.version = 3
    wait_for(lambda: following.served == "3", seconds=LOAD_TIMEOUT + LOAD_SECONDS + 8 * INTERVAL)


def test_a_registry_that_comes_back(following: Following) -> None:
    """What it names then is served within two intervals, and the time that it takes to be loaded."""
    registry, server = following.registry, following.server.server
    registry.failing = True
    wait_for(
        lambda: following.metric('model_reloads_total{model_name="model",outcome="registry_error"') >= 4, seconds=30
    )
    assert answers(server.running.client, "/v2/health/ready") == 200
    assert server.running.predict({"instances": [{"a": 2.0}]}).json()["predictions"] == [2.0]
    registry.version, registry.failing = 3, False
    wait_for(lambda: following.loads(3) >= 1, seconds=2 * INTERVAL + 1)
    wait_for(lambda: following.served == "3", seconds=LOAD_SECONDS)
