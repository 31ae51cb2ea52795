"""What goes wrong while another version is loaded: the one before keeps serving, and nothing hangs or piles up."""

from __future__ import annotations

import concurrent.futures
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow
import pytest

from predictors.access.webhook import Webhook
from predictors.protocol.errors import Unauthorized
from tests.predictors.reload.test_reload import delivery, metric, properties, served
from tests.registry import MLFLOW_VARIABLES
from tests.serving import Process, answers, process, wait_for, workers_of
from tests.zoo.case import numbers
from tests.zoo.python import save

LOAD, REVERT, UNLOAD = (f"/v2/repository/models/model/{deed}" for deed in ("load", "revert", "unload"))
AT_ONCE = ("--workers", "2", "--load-trial", "false")
"""What only crashes in a worker has passed its trial: here there is none."""
# What a caller sees whose worker ends with the request.
CUT_OFF = (httpx.RemoteProtocolError, httpx.ReadError)
# Versions that do as files say: wait, end their process, or let only the first one have them.
MODEL = """
import mlflow, os, time
from pathlib import Path

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        folder, me = Path(os.environ["CONTROL"]), "{me}"
        (folder / f"{{me}}-loads-{{time.monotonic_ns()}}").touch()
        while (folder / f"{{me}}-waits").exists():
            time.sleep(0.01)
        if (folder / f"{{me}}-crashes").exists():
            os._exit(7)
        if (folder / f"{{me}}-for-one").exists():
            try:
                (folder / f"{{me}}-taken").touch(exist_ok=False)
            except FileExistsError:
                os._exit(7)

    def predict(self, context, model_input):
        return model_input["a"]

mlflow.models.set_model(Model())
"""


@dataclass
class FailingRegistry:
    """Versions 1 to 3 of a model, and version 4, which does not fit them."""

    uri: str
    client: mlflow.MlflowClient

    def alias(self, alias: str, version: int) -> None:
        self.client.set_registered_model_alias("m", alias, str(version))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> FailingRegistry:
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder}/store.db"
    failing = FailingRegistry(uri, mlflow.MlflowClient(uri))
    failing.client.create_registered_model("m")
    for version in range(1, 5):
        stored = folder / f"m{version}"
        data = numbers()[["a"] if version < 4 else ["a", "b"]]
        save(stored, MODEL.format(me=version), data=data)
        failing.client.create_model_version("m", str(stored))
    return failing


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    folder = tmp_path / "control"
    (tmp_path / "temporary").mkdir()
    folder.mkdir()
    monkeypatch.setenv("CONTROL", str(folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return folder


def flags(registry: FailingRegistry, alias: str, *more: str, interval: str = "0.2") -> list[str]:
    uri = ["--model-uri", f"models:/m@{alias}", "--tracking-uri", registry.uri]
    return [*uri, "--reload-interval", interval, "--grpc-port", "0", *more]


def loads(control: Path, version: int) -> int:
    return len(list(control.glob(f"{version}-loads-*")))


def reload_status(server: Process) -> str:
    """Empty when the worker that was asked has just ended."""
    try:
        return properties(server.running)["reload"]
    except CUT_OFF:
        return ""


def predict(server: Process) -> int:
    return server.running.predict({"instances": [{"a": 1.0}]}).status_code


def downloads(tmp_path: Path) -> int:
    return len(list((tmp_path / "temporary").glob("mlflow-kserve-*/mlflow-kserve-model-*")))


def test_versions_that_are_refused_leave_nothing_behind(
    registry: FailingRegistry, control: Path, tmp_path: Path
) -> None:
    registry.alias("refused", 1)
    with process(tmp_path, *flags(registry, "refused", interval="0.1")) as server:
        registry.alias("refused", 4)
        failed = 'model_reloads_total{model_name="model",outcome="failed"}'
        wait_for(lambda: metric(server.running, failed) >= 3)
        assert server.running.post(LOAD).status_code == 409
        wait_for(lambda: downloads(tmp_path) == 1, seconds=30)


@pytest.mark.parametrize("deed", ["by hand", "alias"])
def test_a_version_that_ends_the_leader(registry: FailingRegistry, control: Path, tmp_path: Path, deed: str) -> None:
    """It is not tried again at once by whoever leads next, and whoever asked for it is told."""
    registry.alias("fatal", 1)
    (control / "2-crashes").touch()
    interval = "0" if deed == "by hand" else "3"
    with process(tmp_path, *flags(registry, "fatal", *AT_ONCE, interval=interval)) as server:
        registry.alias("fatal", 2)
        if deed == "by hand":
            # Whichever worker takes the request, the one that leads has gone.
            try:
                reply = httpx.post(server.running.url + LOAD, timeout=60)
                assert reply.status_code == 500, reply.text
                assert "ended while it was loaded" in reply.text
            except CUT_OFF:
                pass
        wait_for(lambda: loads(control, 2) >= 1)
        wait_for(lambda: "cannot be served: the worker that led ended while it was loaded" in server.log)
        wait_for(lambda: len(workers_of(server)) == 2)
        wait_for(lambda: answers(server.running.client, "/v2/health/ready") == 200)
        assert metric(server.running, 'model_reload_failing{model_name="model"}') == 1
        assert "ended while it was loaded" in properties(server.running)["reload"]
        assert served(server.running) == "1"
        assert loads(control, 2) == 1
        assert downloads(tmp_path) == 1
        (control / "2-crashes").unlink()
        if deed == "by hand":
            assert server.running.post(LOAD).json()["version"] == "2"
        wait_for(lambda: served(server.running) == "2")
        assert server.terminate() == 0


def test_a_version_that_ends_a_worker(registry: FailingRegistry, control: Path, tmp_path: Path) -> None:
    registry.alias("heavy", 1)
    (control / "2-for-one").touch()
    with process(tmp_path, *flags(registry, "heavy", *AT_ONCE, interval="0")) as server:
        registry.alias("heavy", 2)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(httpx.post, server.running.url + LOAD, timeout=60)
            try:
                reply = asked.result()
                assert reply.status_code == 409, reply.text
                assert "worker 1 ended" in reply.json()["error"]
            except CUT_OFF:  # it was that worker that had the request
                wait_for(lambda: "worker 1 ended" in reload_status(server))
        assert loads(control, 2) == 2
        wait_for(lambda: len(workers_of(server)) == 2)
        assert (served(server.running), predict(server)) == ("1", 200)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_unloaded_while_it_is_loaded_first(
    registry: FailingRegistry, control: Path, tmp_path: Path, workers: str
) -> None:
    registry.alias("early", 1)
    (control / "1-waits").touch()
    with process(tmp_path, *flags(registry, "early", "--workers", workers), ready=False) as server:
        wait_for(lambda: loads(control, 1) == int(workers))
        wait_for(lambda: answers(server.running.client, UNLOAD.replace("unload", "index")) is not None)
        assert server.running.post(UNLOAD).status_code == 200
        (control / "1-waits").unlink()
        wait_for(lambda: "watching" in server.log)
        assert {predict(server) for _ in range(20)} == {503}
        assert server.running.post(LOAD).json().get("version") == "1"
        assert predict(server) == 200


@pytest.mark.parametrize("deed", ["by hand", "alias"])
def test_revert_does_not_wait_for_what_is_being_loaded(
    registry: FailingRegistry, control: Path, tmp_path: Path, deed: str
) -> None:
    registry.alias("slow", 1)
    interval = "0" if deed == "by hand" else "0.2"
    with process(tmp_path, *flags(registry, "slow", "--workers", "2", interval=interval)) as server:
        registry.alias("slow", 2)
        if deed == "by hand":
            server.running.post(LOAD)
        wait_for(lambda: served(server.running) == "2")
        (control / "3-waits").touch()
        registry.alias("slow", 3)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(httpx.post, server.running.url + LOAD, timeout=60) if deed == "by hand" else None
            wait_for(lambda: loads(control, 3) >= 1)
            assert httpx.post(server.running.url + REVERT, timeout=10).json().get("version") == "1"
            if asked is not None:
                reply = asked.result()
                assert (reply.status_code, "reverted" in reply.text) == (409, True)
        (control / "3-waits").unlink()
        assert predict(server) == 200
        if deed == "alias":  # what was given up is not taken again by itself, until the alias has moved
            assert "version 3 is loaded again once" in properties(server.running)["reload"]
            registry.alias("slow", 1)
            wait_for(lambda: properties(server.running)["reload"] == "")
            assert served(server.running) == "1"
            registry.alias("slow", 3)
            wait_for(lambda: served(server.running) == "3")


def test_an_empty_secret_lets_nobody_in(tmp_path: Path) -> None:
    webhook = Webhook(str(tmp_path / "secret"), tmp_path / "seen")
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(Unauthorized, match="empty"):
        webhook.event(delivery(b"{}", secret=""), b"{}")
