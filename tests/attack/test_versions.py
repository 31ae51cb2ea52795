"""Versions of a model that crash or hang while they are loaded, and a registry that fails: what is served stays."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import mlflow
import psutil
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from tests.attack.attacked import Attacked, attacked
from tests.predictors.reload.test_reload import AskingLoad
from tests.registry import MLFLOW_VARIABLES
from tests.serving import answers, process, wait_for, workers_of
from tests.zoo.case import PIP, numbers
from tests.zoo.python import save

pytestmark = pytest.mark.slow
INTERVAL = 0.5
LOAD_SECONDS = 120.0
"""More than a version of these takes to be loaded, on a busy machine."""
LOAD_TIMEOUT = 15.0
FAILING = 'model_reload_failing{model_name="model"}'
FAILED = 'model_reloads_total{model_name="model",outcome="failed"}'
REGISTRY_ERRORS = 'model_reloads_total{model_name="model",outcome="registry_error"}'
# Each version does what the test tells it to.
MODEL = """
import ctypes, mlflow, os, time
from pathlib import Path

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        folder, me = Path(os.environ["CONTROL"]), "{me}"
        (folder / f"{{me}}-loads-{{os.getpid()}}-{{time.monotonic_ns()}}").touch()
        if (folder / f"{{me}}-reads-nothing").exists():
            ctypes.string_at(0)
        if (folder / f"{{me}}-raises").exists():
            raise RuntimeError("no luck")
        if (folder / f"{{me}}-exits").exists():
            os._exit(3)
        while (folder / f"{{me}}-hangs").exists() or (folder / f"{{me}}-hangs-in-{{os.getpid()}}").exists():
            time.sleep(0.05)

    def predict(self, context, model_input):
        if (Path(os.environ["CONTROL"]) / "{me}-crashes-at-its-example").exists():
            os.abort()
        return model_input["a"] * {me}

mlflow.models.set_model(Model())
"""


@dataclass
class FakeRegistry:
    """What a server asks an MLflow registry, answered from memory: one alias, and versions in folders."""

    folder: Path
    version: int = 1
    fault: str | None = None
    """`refuses`, `babbles`, `hangs`: it accepts connections and says nothing until the fault is over, `drips`: it says
    nothing that matters, or `store drips`: so does the store of its files."""
    polls: list[float] = field(default_factory=list)
    """When it was asked which version the alias names."""

    def drips(self, path: str) -> bool:
        return self.fault == "drips" or (self.fault == "store drips" and path.endswith("/MLmodel"))

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if path.endswith("alias"):
            self.polls.append(time.monotonic())
        if self.fault == "refuses":
            return 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "away"}
        if self.fault == "babbles":
            return 200, "<html>Welcome to the proxy</html>"
        while self.fault == "hangs":
            time.sleep(0.05)
        version = query.get("version", [str(self.version)])[0]
        source = f"mlflow-artifacts:/m{version}" if self.fault == "store drips" else str(self.folder / f"m{version}")
        if path.endswith("mlflow-artifacts/artifacts"):
            return 200, {"files": [{"path": "MLmodel", "is_dir": False, "file_size": 1000}]}
        if path.endswith("get-download-uri"):
            return 200, {"artifact_uri": source}
        about = {"name": "m", "version": version, "source": source, "status": "READY", "creation_timestamp": 1}
        return 200, {"model_version": about}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for version in range(1, 4):
        data = numbers()[["a"]]
        save(folder / f"m{version}", MODEL.format(me=version), data=data, input_example=data[:1])
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
            with contextlib.suppress(ConnectionError):  # whoever asked has gone
                self.reply(status, body)

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            path = urlsplit(self.path).path
            self.send_header("content-length", str(10**9 if registry.drips(path) else len(body)))
            self.end_headers()
            while registry.drips(path):
                self.wfile.write(b" ")
                time.sleep(0.05)
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", registry
        registry.fault = None
        server.shutdown()


@dataclass
class Following:
    """A server that follows the alias, and what its versions are told to do."""

    server: Attacked
    registry: FakeRegistry
    control: Path

    def loads(self, version: int) -> int:
        return len(list(self.control.glob(f"{version}-loads-*")))

    def still_loading(self, version: int) -> list[int]:
        """The processes that have begun to load it, and have not ended."""
        pids = (int(file.name.split("-")[2]) for file in self.control.glob(f"{version}-loads-*"))
        return [pid for pid in pids if psutil.pid_exists(pid)]

    def tell(self, deed: str) -> None:
        (self.control / deed).touch()

    def take_back(self, deed: str) -> None:
        (self.control / deed).unlink()

    def ask(self, command: str) -> httpx.Response:
        return httpx.post(f"{self.url}/v2/repository/models/model/{command}", timeout=LOAD_SECONDS)

    @property
    def url(self) -> str:
        return self.server.server.running.url

    @property
    def reload(self) -> str:
        return str(self.about.get("properties", {}).get("reload", ""))

    def predict(self) -> list[float]:
        return list(self.server.server.running.predict({"instances": [{"a": 2.0}]}).json()["predictions"])

    @property
    def about(self) -> dict[str, Any]:
        reply = httpx.get(f"{self.url}/v2/models/model", timeout=10)
        return dict(reply.json()) if reply.status_code == 200 else {}

    @property
    def served(self) -> str:
        return str(self.about.get("versions", [""])[0])

    def metric(self, line: str) -> float:
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        return sum(float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(line))

    def check_refused(self, version: int, reason: str, served: str = "1") -> None:
        """It is known to everybody that it failed, and the one before answers."""
        refusal = f"version {version} cannot be served: {reason}"
        wait_for(lambda: self.reload.startswith(refusal), lambda: self.server.check_alive(), LOAD_SECONDS)
        assert self.served == served
        assert self.metric(FAILING) == 1
        assert self.metric(FAILED) >= 1
        assert f"ERROR predictors: {refusal}" in self.server.server.log


@pytest.fixture
def cold() -> bool:
    """Whether the server is a fresh interpreter, and with it the process that tries a version."""
    return False


@pytest.fixture
def following(
    registry: tuple[str, FakeRegistry],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    cold: bool,
) -> Iterator[Following]:
    """With the flags of the test's parameter."""
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    control, temporary = tmp_path / "control", tmp_path / "temporary"
    control.mkdir()
    temporary.mkdir()
    env = {"CONTROL": str(control), "TMPDIR": str(temporary)}
    flags = ["--model-uri", "models:/m@champion", "--tracking-uri", registry[0], "--reload-interval", str(INTERVAL)]
    flags += ["--engine", os.environ.get("MLFLOW_KSERVE_ENGINE", "auto"), *getattr(request, "param", ())]
    with attacked(tmp_path, *flags, env=env, cold=cold) as server:
        yield Following(server, registry[1], control)


def test_a_version_that_crashes(following: Following) -> None:
    """It changes nothing, is tried less and less often, and the next one is taken."""
    following.tell("2-exits")
    following.registry.version = 2
    following.check_refused(2, "its process ended with status 3 while loading models:/m/2 with the pyfunc flavor")
    begin, before = time.monotonic(), following.loads(2)
    wait_for(lambda: time.monotonic() - begin > 8 * INTERVAL)
    assert following.loads(2) <= before + 3
    reply = following.ask("load")
    assert reply.status_code == 500, reply.text
    assert "its process ended with status 3" in reply.json()["error"]
    following.registry.version = 3
    wait_for(lambda: following.served == "3", seconds=LOAD_SECONDS)
    assert following.metric(FAILING) == 0
    following.take_back("2-exits")
    following.tell("2-reads-nothing")
    following.registry.version = 2
    following.check_refused(2, "its process crashed (Segmentation fault) while loading", served="3")
    assert " in load_context\n" in following.server.server.log  # where it crashed
    following.take_back("2-reads-nothing")
    following.tell("2-crashes-at-its-example")
    assert "its process crashed (Aborted) while warming up" in following.ask("load").json()["error"]
    assert following.predict() == [6.0]


@pytest.mark.parametrize("cold", [True])
@pytest.mark.parametrize("following", [("--workers", "2")], indirect=True)
def test_a_version_that_crashes_with_two_workers(following: Following) -> None:
    """No worker ends with it, and the next leader knows that it has failed."""
    before = workers(following)
    following.tell("2-exits")
    following.registry.version = 2
    following.check_refused(2, "its process ended with status 3")
    wait_for(lambda: following.metric(FAILED) >= 3, seconds=LOAD_SECONDS)  # it is tried again after 4 intervals
    assert before == workers(following), "a worker ended"
    tried = following.loads(2)
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: following.server.server.log.count("watching models:/m@champion") == 2, seconds=LOAD_SECONDS)
    assert following.loads(2) <= tried + 1
    following.check_refused(2, "its process ended with status 3")
    following.registry.version = 1
    wait_for(lambda: following.reload == "" and following.metric(FAILING) == 0, seconds=10)


def workers(following: Following) -> list[int]:
    """The first one leads."""
    return sorted(workers_of(following.server.server))


@pytest.mark.parametrize("cold", [True])
@pytest.mark.parametrize("following", [("--load-timeout", str(LOAD_TIMEOUT))], indirect=True)
def test_a_version_that_hangs(following: Following) -> None:
    """Who reverts need not wait for it. It is given up like any that fails, and the next one is taken."""
    following.tell("2-hangs")
    following.registry.version = 2
    wait_for(lambda: following.loads(2) == 1, seconds=LOAD_SECONDS)
    reply = following.ask("revert")
    assert (reply.status_code, reply.json()["version"]) == (200, "1"), reply.text
    assert following.reload == "reverted to version 1; version 2 is loaded again once the URI has named another"
    wait_for(lambda: not following.still_loading(2), seconds=LOAD_TIMEOUT / 2)
    reply = following.ask("load")
    assert reply.status_code == 500, reply.text
    assert not following.still_loading(2)
    reason = f"not loaded after {LOAD_TIMEOUT:g} s (--load-timeout); its last stage is: loading models:/m/2"
    assert reason in reply.json()["error"]
    assert following.served == "1"
    following.registry.version = 3
    wait_for(lambda: following.served == "3", seconds=LOAD_SECONDS)


@pytest.mark.parametrize(
    "following", [("--load-timeout", "5", "--load-trial", "false", "--workers", "2")], indirect=True
)
def test_a_version_that_hangs_without_a_trial(following: Following) -> None:
    """Its threads are left alone."""
    following.tell("2-hangs")
    following.registry.version = 2
    wait_for(lambda: following.metric(FAILED) >= 2, seconds=LOAD_SECONDS)
    following.check_refused(2, "the model is not loaded after 5 s (--load-timeout)")
    following.take_back("2-hangs")
    following.tell(f"2-hangs-in-{workers(following)[1]}")
    following.check_refused(2, "worker 1 cannot load it: the model is not loaded after 5 s")
    following.registry.version = 3
    wait_for(lambda: following.served == "3", seconds=LOAD_SECONDS)
    assert following.server.server.terminate() == 0


@pytest.mark.parametrize("following", [("--workers", "2")], indirect=True)
@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_is_killed_while_it_loads(following: Following, index: int) -> None:
    """As by the kernel, when memory runs out."""
    killed = workers(following)[index]
    following.tell(f"2-hangs-in-{killed}")
    following.registry.version = 2
    wait_for(lambda: list(following.control.glob(f"2-loads-{killed}-*")), seconds=LOAD_SECONDS)
    os.kill(killed, signal.SIGKILL)
    ended = ("the worker that led ended while it was loaded", "worker 1 ended while it was loaded")[index]
    following.check_refused(2, ended)
    assert following.predict() == [2.0]
    wait_for(lambda: following.served == "2", seconds=LOAD_SECONDS)  # tried again, with another worker


@pytest.mark.parametrize("fault", ["refuses", "babbles", "hangs"])
@pytest.mark.parametrize("following", [("--reload-interval", "2")], indirect=True)
def test_a_registry_that_comes_back(following: Following, fault: str) -> None:
    """It is asked within two intervals, however long it was away, and what it names then is served."""
    registry, server = following.registry, following.server.server
    registry.fault = fault
    wait_for(lambda: following.metric(REGISTRY_ERRORS) >= (1 if fault == "hangs" else 4), seconds=60)
    assert answers(server.running.client, "/v2/health/ready") == 200
    assert following.predict() == [2.0]
    assert "models:/m@champion cannot be resolved: " in following.reload
    assert server.log.count("cannot be resolved") <= 2  # not a line for each poll
    registry.version, registry.fault = 3, None
    back = time.monotonic()
    wait_for(lambda: any(asked > back for asked in registry.polls), seconds=2 * 2)
    wait_for(lambda: following.served == "3", seconds=LOAD_SECONDS)
    assert "the registry answers again" in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_registry_that_drips_at_the_start(
    registry: tuple[str, FakeRegistry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    """No answer may take for ever, though there is always a little of it."""
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    registry[1].fault = "drips"
    flags = ["--model-uri", "models:/m@champion", "--tracking-uri", registry[0], "--workers", workers]
    env = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with process(tmp_path, *flags, "--download-retries", "0", env=env, ready=False) as server:
        assert server.process.wait(LOAD_SECONDS) == 1
    assert "ERROR predictors: resolving models:/m@champion failed: " in server.log
    assert "the registry has not answered after 1 s (MLFLOW_HTTP_REQUEST_TIMEOUT)" in server.log


def test_a_store_that_drips_at_the_start(
    registry: tuple[str, FakeRegistry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    registry[1].fault = "store drips"
    flags = ["--model-uri", "models:/m@champion", "--tracking-uri", registry[0], "--load-timeout", "2"]
    with process(tmp_path, *flags, ready=False) as server:
        assert server.process.wait(LOAD_SECONDS) == 1
    assert "ERROR predictors: models:/m/1 is not downloaded after 2 s (--load-timeout)" in server.log


FLIPS = int(os.environ.get("ATTACK_FLIPS", "20"))
BAD = ("reads-nothing", "raises", "exits", "does-not-fit", "hangs")[: FLIPS // 10]


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2 are good, and have a compiled engine; the others are bad."""
    folder = tmp_path_factory.mktemp("flipped")
    data = numbers()[["a"]]
    for version in (1, 2):
        model = LinearRegression().fit(data, data.a * version)
        signature = infer_signature(data, model.predict(data))
        mlflow.sklearn.save_model(model, folder / f"m{version}", signature=signature, **PIP)
    for version, deed in enumerate(BAD, 3):
        columns = ["b"] if deed == "does-not-fit" else ["a"]
        save(folder / f"m{version}", MODEL.format(me=version), data=numbers()[columns])
    return folder


@pytest.mark.timeout(600)  # on a busy machine
@pytest.mark.parametrize("following", [("--workers", "2", "--load-timeout", str(LOAD_TIMEOUT))], indirect=True)
def test_flips_of_the_alias_under_load(following: Following, flipped: Path) -> None:
    """Whatever the alias names, every caller on every protocol is answered, by a good version and rightly."""
    registry = following.registry
    registry.folder, registry.version = flipped, 2
    wait_for(lambda: following.served == "2", seconds=LOAD_SECONDS)
    for version, deed in enumerate(BAD, 3):
        following.tell(f"{version}-{deed}")
    before = workers(following)
    with AskingLoad(following.server.server.running) as load:
        for flip in range(FLIPS):
            failed, good = following.metric(FAILED), 1 + flip % 2
            registry.version = 3 + flip // 10 if flip % 10 == 0 else good
            if flip % 10 == 0:
                wait_for(lambda failed=failed: following.metric(FAILED) > failed, seconds=LOAD_SECONDS)
            elif flip % 10 == 5 + flip // 10 % 2:
                wait_for(lambda good=good: following.served == str(good), lambda: load.failures, LOAD_SECONDS)
            else:
                time.sleep(0.1)
        registry.version = 2
        wait_for(lambda: following.served == "2", lambda: load.failures, LOAD_SECONDS)
    assert not load.failures
    assert {version for *_, version in load.answers} == {"1", "2"}
    assert workers(following) == before, "a worker ended"
    for version in range(3, 3 + len(BAD)):
        assert f"version {version} cannot be served: " in following.server.server.log
    assert following.metric(FAILING) == 0
