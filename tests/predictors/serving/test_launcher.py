"""Servers in environments of their own, started as people do: the four scenarios, signals, failures, a change of both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.predictors.storage.test_source import registered, tracking  # noqa: F401 - fixtures
from tests.serving import Process, answers, children, cold_process, wait_for
from tests.zoo.case import numbers
from tests.zoo.python import save

ROWS = {"instances": [[1.0, 2.0, 3.0, 4.0]]}
ANSWERS = """
import mlflow

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [{number}] * len(model_input)

mlflow.models.set_model(Model())
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("environments"))


@pytest.fixture
def uv(cache: str) -> tuple[str, ...]:
    return ("--env-manager", "uv", "--env-cache", cache)


def environment_of(server: Process) -> str:
    """Where the interpreter lies that serves."""
    child = children(server.process.pid)[0]
    return Path(f"/proc/{child}/cmdline").read_text().split("\0")[0]


# -- the four scenarios ---------------------------------------------------------------------------------------------


def test_local_model_local_dependencies(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    with cold_process(tmp_path, "--model-uri", str(zoo("sklearn-logistic"))) as server:
        assert server.running.predict(ROWS).status_code == 200


def test_local_model_remote_dependencies(
    zoo: Callable[[str], Path], tmp_path: Path, uv: tuple[str, ...], cache: str
) -> None:
    images = {"PYTHONDONTWRITEBYTECODE": "1"}
    with cold_process(tmp_path, "--model-uri", str(zoo("sklearn-logistic")), *uv, env=images) as server:
        assert server.running.predict(ROWS).status_code == 200
        assert server.running.get("/v2/models/model").json()["properties"]["dependencies"] == "ok"
        assert environment_of(server).startswith(cache)
        packages = Path(environment_of(server)).parent.parent / "lib"
        assert any(packages.glob("python*/site-packages/sklearn/__pycache__/*.pyc")), "the next start need not compile"
        assert server.terminate() == 0


def test_remote_model_local_dependencies(tracking: str, registered: dict[str, str], tmp_path: Path) -> None:  # noqa: F811
    flags = ("--model-uri", "models:/fraud@champion", "--tracking-uri", tracking)
    with cold_process(tmp_path, *flags) as server:
        assert server.running.predict({"instances": [[3.0]]}).json()["predictions"] == [pytest.approx(3.0)]


def test_remote_model_remote_dependencies(
    tracking: str,  # noqa: F811
    registered: dict[str, str],  # noqa: F811
    tmp_path: Path,
    uv: tuple[str, ...],
    cache: str,
) -> None:
    flags = ("--model-uri", "models:/fraud@challenger", "--tracking-uri", tracking, "--workers", "2", *uv)
    with cold_process(tmp_path, *flags) as server:
        reply = server.running.predict({"instances": [[3.0]]}).json()
        assert (reply["model_version"], reply["predictions"]) == ("2", [pytest.approx(6.0)])
        about = server.running.get("/v2/models/model").json()
        assert about["properties"]["model_uri"] == "models:/fraud/2"
        assert environment_of(server).startswith(cache)
        assert server.log.count("downloading models:/fraud/2") == 1
        (kept,) = {Path(word) for word in server.log.split() if word.startswith(cache)}
        assert server.terminate() == 0
    assert kept.is_dir()


def test_the_launcher_stays_small() -> None:
    """It is there as long as its servers, and a start through it should cost next to nothing."""
    script = """
import sys
import predictors.mlflow, predictors.serving.launcher
print([name for name in ("numpy", "pandas", "mlflow", "kserve", "uvloop", "prometheus_client") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- from start to end ----------------------------------------------------------------------------------------------


@pytest.fixture
def slow_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An address that takes connections and never answers: a build that does not come to an end."""
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{listening.getsockname()[1]}/simple")
        monkeypatch.setenv("UV_NO_CACHE", "1")
        yield


def test_alive_and_not_ready_while_the_environment_is_built(
    zoo: Callable[[str], Path], tmp_path: Path, slow_index: None
) -> None:
    flags = ("--env-manager", "uv", "--env-cache", str(tmp_path / "cache"))
    with cold_process(tmp_path, "--model-uri", str(zoo("sklearn-logistic")), *flags, ready=False) as server:
        wait_for(lambda: answers(server.running.client, "/v2/health/live") == 200)
        wait_for(lambda: "building the model's environment" in server.running.get("/v2/health/ready").text)
        refused = server.running.predict(ROWS)
        assert (refused.status_code, "building" in refused.text) == (503, True)
        started = children(server.process.pid)
        assert started
        assert server.terminate() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in started)
        assert "Traceback" not in server.log
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_the_keyboards_signal_is_passed_on(zoo: Callable[[str], Path], tmp_path: Path, uv: tuple[str, ...]) -> None:
    with cold_process(tmp_path, "--model-uri", str(zoo("sklearn-logistic")), *uv) as server:
        (child,) = children(server.process.pid)
        assert server.terminate(signal.SIGINT) == 0
        assert not Path(f"/proc/{child}").exists()
        assert "Traceback" not in server.log


def test_a_hangup_is_passed_on(zoo: Callable[[str], Path], tmp_path: Path, uv: tuple[str, ...]) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-that-is-long")
    flags = ("--model-uri", str(zoo("sklearn-logistic")), "--admin-token-file", str(tokens), *uv)
    with cold_process(tmp_path, *flags) as server:
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "--admin-token-file: read again" in server.log, seconds=20)
        assert server.running.predict(ROWS).status_code == 200
        assert server.terminate() == 0


def test_nobody_outlives_a_killed_launcher(zoo: Callable[[str], Path], tmp_path: Path, uv: tuple[str, ...]) -> None:
    with cold_process(tmp_path, "--model-uri", str(zoo("sklearn-logistic")), *uv) as server:
        (child,) = children(server.process.pid)
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not Path(f"/proc/{child}").exists())


def test_the_servers_end_is_the_launchers(zoo: Callable[[str], Path], tmp_path: Path, uv: tuple[str, ...]) -> None:
    with cold_process(tmp_path, "--model-uri", str(zoo("sklearn-logistic")), *uv) as server:
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGKILL)
        assert server.process.wait(30) == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    ("flags", "words", "status"),
    [
        (["--model-uri", "/nowhere/at/all"], "there is no folder /nowhere/at/all", 1),
        (["--tracking-uri", "http://127.0.0.1:9", "--model-uri", "models:/m@x"], "resolving models:/m@x failed", 1),
        (["--env-cache", "/dev/null/x"], "--env-cache /dev/null/x cannot be used: Not a directory", 1),
        (["--allow-code-execution", "false"], "--env-manager=uv installs the packages that the model names", 2),
    ],
)
def test_what_cannot_be_served_is_one_line(tmp_path: Path, flags: list[str], words: str, status: int) -> None:
    more = ("--env-manager", "uv", "--download-retries", "0")
    with cold_process(tmp_path, *more, *flags, env={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}, ready=False) as server:
        assert server.process.wait(60) == status
        lines = [line for line in server.log.splitlines() if "ERROR" in line or line.startswith("python -m")]
        assert len(lines) == 1
        assert words in lines[0]
        assert "Traceback" not in server.log


# -- another model in another environment ---------------------------------------------------------------------------


class Asking:
    """Asks all the time, each time over a new connection; keeps what was answered."""

    def __init__(self, url: str) -> None:
        self.url, self.answers, self.enough = url, list[object](), threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self) -> None:
        while not self.enough.wait(0.005):  # what is watched needs the cores as well
            try:
                reply = httpx.post(f"{self.url}/v1/models/model:predict", json=ROWS, timeout=60)
                self.answers.append(reply.json()["predictions"] if reply.status_code == 200 else reply.text)
            except httpx.HTTPError as error:
                self.answers.append(repr(error))

    def __enter__(self) -> Asking:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_another_server_takes_over_without_a_lost_request(tmp_path: Path, uv: tuple[str, ...], workers: str) -> None:
    one, broken, two, served = (tmp_path / name for name in ("one", "broken", "two", "served"))
    save(one, ANSWERS.format(number=1), data=numbers())
    save(broken, ANSWERS.format(number=3), data=numbers())
    save(two, ANSWERS.format(number=2), data=numbers())
    (broken / "broken.py").write_text("raise RuntimeError('no luck')")
    served.symlink_to(one)
    with cold_process(tmp_path, "--model-uri", str(served), "--workers", workers, *uv) as server:

        def load(folder: Path) -> tuple[int, str]:
            served.unlink()
            served.symlink_to(folder)
            reply = httpx.post(f"{server.running.url}/v2/repository/models/model/load", timeout=120)
            return reply.status_code, reply.text

        before, processes = environment_of(server), children(server.process.pid)
        with Asking(server.running.url) as asking:
            (broken / "requirements.txt").write_text("six==1.16.0\nsix==1.15.0\n")
            status, words = load(broken)
            assert (status, "the model's environment cannot be built: " in words) == (500, True), words
            (broken / "requirements.txt").write_text("six==1.16.0\n")
            status, words = load(broken)
            assert (status, "cannot be loaded: " in words, "no luck" in words) == (500, True, True), words
            assert set(map(str, asking.answers)) == {"[1]"}
            assert load(two)[0] == 200  # needs the same environment
            assert children(server.process.pid) == processes
            wait_for(lambda: [2] in asking.answers)

            (one / "requirements.txt").write_text("six==1.16.0\n")
            moved = len(asking.answers)
            assert load(one)[0] == 200
            wait_for(lambda: [1] in asking.answers[moved:] and len(children(server.process.pid)) == 1)
        assert set(map(str, asking.answers)) == {"[1]", "[2]"}
        assert environment_of(server) != before
        assert load(two)[0] == 200
        wait_for(lambda: environment_of(server) == before)  # the one that was replaced may still be leaving
        assert httpx.post(f"{server.running.url}/v1/models/model:predict", json=ROWS).json()["predictions"] == [2]
        assert server.terminate() == 0
