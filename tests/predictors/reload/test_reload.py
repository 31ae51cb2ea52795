"""Other versions of a model while it serves: found by themselves or asked for, without a request that fails."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import grpc
import httpx
import mlflow
import numpy as np
import psutil
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from loadtest.peers.ports import free_port
from tests.registry import MLFLOW_VARIABLES, mlflow_server
from tests.serving import Process, Running, answers, in_thread, process, wait_for, workers_of
from tests.zoo.case import PIP, numbers

SECRET = "a secret between registry and server"
MOVES = 12


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@dataclass
class RealRegistry:
    """A registry with a model `m` whose version n answers n × a, and the aliases that tests move."""

    uri: str
    client: mlflow.MlflowClient
    artifacts: Path
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def alias(self, alias: str, version: int | str) -> None:
        self.client.set_registered_model_alias("m", alias, str(version))

    def log(self, model: Any, signature: Any, requirements: list[str]) -> str:
        """Another version of the model; its number."""
        mlflow.set_tracking_uri(self.uri)
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(
                model, name="m", signature=signature, registered_model_name="m", pip_requirements=requirements
            )
        return str(info.registered_model_version)

    def times(self, factor: float, columns: tuple[str, ...] = ("a",), requirements: list[str] | None = None) -> str:
        data = numbers()[list(columns)]
        model = LinearRegression().fit(data, data[columns[0]] * factor)
        return self.log(model, infer_signature(data, model.predict(data)), requirements or PIP["pip_requirements"])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    env = {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    }
    folder = tmp_path_factory.mktemp("registry")
    with mlflow_server(folder, env=env) as uri:
        real = RealRegistry(uri, mlflow.MlflowClient(uri), folder / "artifacts")
        for factor in (1, 2):
            real.times(factor)
        yield real


def served(server: Running) -> str:
    version: str = server.get(f"/v1/models/{server.name}").json()["version"]
    return version


def properties(server: Running) -> dict[str, str]:
    reported: dict[str, str] = server.get(f"/v2/models/{server.name}").json()["properties"]
    return reported


def metric(server: Running, line: str) -> float:
    for sample in server.get("/metrics").text.splitlines():
        if sample.startswith(line):
            return float(sample.rpartition(" ")[2])
    return 0.0


@dataclass
class AskingLoad:
    """Callers on every protocol at once; what each was told, and when."""

    PAUSE: ClassVar[float] = 0.015  # of six callers one has nearly always asked, and waits for its answer

    server: Running
    stop: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    """When it was asked, when it was answered, and by which version."""

    def __enter__(self) -> AskingLoad:
        callers = [self.v1, self.v2, self.v2_binary, self.invocations, self.long_way, self.grpc]
        self.threads = [threading.Thread(target=self.hold, args=(caller,)) for caller in callers]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def hold(self, caller: Callable[[httpx.Client], Callable[[], tuple[str, float]]]) -> None:
        try:
            with httpx.Client(base_url=self.server.url, timeout=60) as client:
                ask = caller(client)
                while not self.stop.wait(self.PAUSE):  # what is watched needs the cores as well
                    asked = time.monotonic()
                    version, answer = ask()
                    self.answers.append((asked, time.monotonic(), version))
                    assert answer == pytest.approx(10 * int(version), abs=1e-6), f"{answer} of version {version}"
        except BaseException as error:
            self.failures.append(f"{caller.__name__}: {error!r}")

    def v1(self, client: httpx.Client, rows: int = 1) -> Callable[[], tuple[str, float]]:
        body = json.dumps({"instances": [{"a": 10.0}] * rows})

        def ask() -> tuple[str, float]:
            reply = client.post("/v1/models/model:predict", content=body)
            assert reply.status_code == 200, reply.text
            return reply.headers["x-model-version"], reply.json()["predictions"][-1]

        return ask

    def long_way(self, client: httpx.Client) -> Callable[[], tuple[str, float]]:
        return self.v1(client, rows=5000)

    def v2(self, client: httpx.Client) -> Callable[[], tuple[str, float]]:
        def ask() -> tuple[str, float]:
            tensor = {"name": "a", "datatype": "FP64", "shape": [1], "data": [10.0]}
            reply = client.post("/v2/models/model/infer", json={"inputs": [tensor]})
            assert reply.status_code == 200, reply.text
            assert reply.headers["x-model-version"] == reply.json()["model_version"]
            return reply.json()["model_version"], reply.json()["outputs"][0]["data"][0]

        return ask

    def v2_binary(self, client: httpx.Client) -> Callable[[], tuple[str, float]]:
        tensor = {"name": "a", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        body = head + np.array([10.0]).tobytes()

        def ask() -> tuple[str, float]:
            reply = client.post("/v2/models/model/infer", content=body, headers=headers)
            assert reply.status_code == 200, reply.text
            split = int(reply.headers["inference-header-content-length"])
            assert json.loads(reply.content[:split])["model_version"] == reply.headers["x-model-version"]
            return reply.headers["x-model-version"], float(np.frombuffer(reply.content[split:])[0])

        return ask

    def invocations(self, client: httpx.Client) -> Callable[[], tuple[str, float]]:
        def ask() -> tuple[str, float]:
            reply = client.post("/invocations", json={"dataframe_split": {"columns": ["a"], "data": [[10.0]]}})
            assert reply.status_code == 200, reply.text
            return reply.headers["x-model-version"], reply.json()["predictions"][0]

        return ask

    def grpc(self, client: httpx.Client) -> Callable[[], tuple[str, float]]:
        stub = GRPCInferenceServiceStub(grpc.insecure_channel(self.server.grpc))
        tensor = pb.ModelInferRequest.InferInputTensor(
            name="a", datatype="FP64", shape=[1], contents=pb.InferTensorContents(fp64_contents=[10.0])
        )

        def ask() -> tuple[str, float]:
            reply = stub.ModelInfer(pb.ModelInferRequest(model_name="model", inputs=[tensor]), timeout=60)
            return reply.model_version, reply.outputs[0].contents.fp64_contents[0]

        return ask


def memory(server: Process) -> int:
    first = psutil.Process(server.process.pid)
    return sum(one.memory_info().rss for one in [first, *first.children(recursive=True)])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_alias_moves_under_load(registry: RealRegistry, tmp_path: Path, workers: str) -> None:
    registry.alias("champion", 1)
    flags = ["--model-uri", "models:/m@champion", "--tracking-uri", registry.uri, "--workers", workers]
    folder = tmp_path / "temporary"
    folder.mkdir()
    flags += ["--reload-interval", "0.2", "--load-trial", "false"]  # faster: attacks test the alias with trials
    with process(tmp_path, *flags, env={"TMPDIR": str(folder)}) as server, AskingLoad(server.running) as load:
        sizes, moves = [], []
        for move in range(MOVES):
            version = str(2 - move % 2)
            moves.append((time.monotonic(), version))
            registry.alias("champion", version)
            moved = len(load.answers)
            wait_for(
                lambda moved=moved, since=moves[-1]: (
                    since[1] in {by for asked, _, by in load.answers[moved:] if asked > since[0]}
                ),
                lambda: load.failures or (server.process.poll() is not None and server.log),
            )
            sizes.append(memory(server))
        load.__exit__()
        assert not load.failures, (load.failures, server.log[-2000:])
        assert len(load.answers) > 100
        assert_in_order(load.answers, moves)
        assert metric(server.running, 'model_reloads_total{model_name="model",outcome="loaded"}') >= MOVES
        assert metric(server.running, 'model_reload_failing{model_name="model"}') == 0
        assert properties(server.running)["previous_version"] == str(2 - MOVES % 2)
        # Three copies at most, whatever the number of moves.
        assert sizes[-1] < sizes[2] * 1.1, sizes
        assert len(list(folder.glob("mlflow-kserve-*/mlflow-kserve-model-*"))) == 2
        assert server.terminate() == 0


def assert_in_order(answers: list[tuple[float, float, str]], moves: list[tuple[float, str]]) -> None:
    """Once anybody has been answered by the new version, nobody who asks later is answered by the old one."""
    ends = [*(moved for moved, _ in moves[1:]), float("inf")]
    for (moved, version), end in zip(moves, ends, strict=True):
        # Of those who asked since: others may have begun on the last but one, which is the same version again.
        first = min(answered for asked, answered, by in answers if by == version and moved < asked and answered < end)
        late = {by for asked, answered, by in answers if first < asked and answered < end}
        assert late <= {version}, (version, late)


def test_a_version_that_does_not_fit_is_refused(registry: RealRegistry, tmp_path: Path) -> None:
    registry.alias("careful", 1)
    other = registry.times(3, ("b",))
    flags = ["--model-uri", "models:/m@careful", "--tracking-uri", registry.uri, "--reload-interval", "0.2"]
    with process(tmp_path, *flags) as server:
        registry.alias("careful", other)
        wait_for(lambda: metric(server.running, 'model_reload_failing{model_name="model"}') == 1)
        assert served(server.running) == "1"
        about = properties(server.running)
        assert about["reload"].startswith(f"version {other} cannot be served: its signature does not fit")
        assert "input 'a' is gone; input 'b' is new and required" in about["reload"]
        assert metric(server.running, 'model_reloads_total{model_name="model",outcome="failed"}') >= 1
        assert server.running.predict({"instances": [{"a": 1.0}]}).json()["predictions"] == pytest.approx([1.0])
        reply = server.running.post("/v2/repository/models/model/load")
        assert reply.status_code == 409, reply.text
        assert "input 'b' is new and required" in reply.json()["error"]
        # It is not tried again and again, and what follows is not held up by it.
        registry.alias("careful", 2)
        wait_for(lambda: served(server.running) == "2")
        assert metric(server.running, 'model_reload_failing{model_name="model"}') == 0
        assert properties(server.running)["reload"] == "serving version 2"
        assert (
            0
            < server.log.index("models:/m@careful moved from version 1 to 2")
            < server.log.index(": serving version 2")
        )
    with process(tmp_path, *flags, "--allow-signature-change") as server:
        registry.alias("careful", other)
        wait_for(lambda: served(server.running) == other)
        assert server.running.predict({"instances": [{"b": 1.0}]}).json()["predictions"] == pytest.approx([3.0])


def test_a_version_that_cannot_be_loaded_is_tried_again(registry: RealRegistry, tmp_path: Path) -> None:
    registry.alias("brittle", 1)
    other = registry.times(4)
    where = registry.client.get_model_version("m", other).source
    stored = next(registry.artifacts.rglob(f"{where.rpartition('/')[2]}/artifacts/model.skops"))
    content = stored.read_bytes()
    stored.write_bytes(content[:100])
    flags = ["--model-uri", "models:/m@brittle", "--tracking-uri", registry.uri, "--reload-interval", "0.2"]
    with process(tmp_path, *flags, "--workers", "2") as server:
        registry.alias("brittle", other)
        wait_for(lambda: metric(server.running, 'model_reload_failing{model_name="model"}') == 1)
        assert served(server.running) == "1"
        assert f"version {other} cannot be served: the sklearn model in" in server.log
        assert "version 1 keeps serving" in server.log
        assert "Traceback" not in server.log
        stored.write_bytes(content)
        wait_for(lambda: served(server.running) == other)


def test_a_version_that_needs_other_packages_is_refused(registry: RealRegistry, tmp_path: Path) -> None:
    registry.alias("equipped", 1)
    other = registry.times(6, requirements=["scikit-learn==0.24.2", "no-such-package==1"])
    flags = ["--model-uri", "models:/m@equipped", "--tracking-uri", registry.uri, "--reload-interval", "0.2"]
    with process(tmp_path, *flags) as server:
        registry.alias("equipped", other)
        wait_for(lambda: metric(server.running, 'model_reload_failing{model_name="model"}') == 1)
        assert served(server.running) == "1"
        why = properties(server.running)["reload"]
        assert f"version {other} cannot be served: it needs another environment: " in why
        assert "scikit-learn: the model requires ==0.24.2, found " in why
        assert "no-such-package: the model requires ==1, but it is not installed" in why
    with process(tmp_path, *flags, "--dependencies", "ignore") as server:
        assert served(server.running) == other


def move_away_and_back(registry: RealRegistry, server: Process, alias: str) -> None:
    """After that the version that was left is taken again."""
    registry.alias(alias, 1)
    wait_for(lambda: properties(server.running)["reload"] == "")
    registry.alias(alias, 2)
    wait_for(lambda: served(server.running) == "2")


def test_revert_goes_back_and_stays_there(registry: RealRegistry, tmp_path: Path) -> None:
    registry.alias("blue", 1)
    flags = ["--model-uri", "models:/m@blue", "--tracking-uri", registry.uri, "--reload-interval", "0.2"]
    with process(tmp_path, *flags, "--workers", "2") as server:
        assert server.running.post("/v2/repository/models/model/revert").status_code == 409
        registry.alias("blue", 2)
        wait_for(lambda: served(server.running) == "2")
        reply = server.running.post("/v2/repository/models/model/revert")
        assert (reply.status_code, reply.json()) == (200, {"name": "model", "revert": True, "version": "1"})
        assert {httpx.get(f"{server.running.url}/v1/models/model").json()["version"] for _ in range(10)} == {"1"}
        looks = server.log.count("models:/m@blue is version")
        assert metric(server.running, 'model_reloads_total{model_name="model",outcome="reverted"}') == 1
        assert properties(server.running)["reload"].startswith("reverted to version 1; version 2 is loaded again once")
        # The alias still names 2; only a move takes it up again, or somebody's wish.
        assert server.running.post("/v2/repository/models/model/load").json()["version"] == "2"
        assert server.log.count("models:/m@blue is version") == looks
        assert server.running.post("/v2/repository/models/model/revert").json()["version"] == "1"
        move_away_and_back(registry, server, "blue")


def test_a_folder_whose_files_change(tmp_path: Path) -> None:
    data = numbers()[["a"]]
    folder = tmp_path / "model"

    def save(factor: float) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        model = LinearRegression().fit(data, data.a * factor)
        mlflow.sklearn.save_model(model, folder, signature=infer_signature(data, model.predict(data)), **PIP)

    save(1)
    with in_thread(folder) as server:
        save(5)
        assert server.predict({"instances": [{"a": 1.0}]}).json()["predictions"] == pytest.approx([1.0])
        assert server.post("/v2/repository/models/model/load").status_code == 200
        assert server.predict({"instances": [{"a": 1.0}]}).json()["predictions"] == pytest.approx([5.0])
        assert server.post("/v2/repository/models/model/revert").status_code == 200
        assert server.predict({"instances": [{"a": 1.0}]}).json()["predictions"] == pytest.approx([1.0])
        shutil.rmtree(folder)
        reply = server.post("/v2/repository/models/model/load")
        assert reply.status_code == 500
        assert f"there is no folder {folder}" in reply.json()["error"]
        assert server.predict({"instances": [{"a": 1.0}]}).status_code == 200


def test_a_pinned_version_is_left_alone(registry: RealRegistry, tmp_path: Path) -> None:
    with process(tmp_path, "--model-uri", "models:/m/1", "--tracking-uri", registry.uri) as server:
        assert "watching" not in server.log
        before = properties(server.running)["model_uri"]
        assert server.running.post("/v2/repository/models/model/load").json()["version"] == "1"
        assert before == properties(server.running)["model_uri"] == "models:/m/1"
        assert server.log.count("downloading models:/m/1") == 1


def delivery(body: bytes, sent: int | None = None, secret: str = SECRET, name: str | None = None) -> dict[str, str]:
    """The headers with which MLflow signs a delivery."""
    name, when = name or str(uuid.uuid4()), str(int(time.time()) if sent is None else sent)
    digest = hmac.new(secret.encode(), f"{name}.{when}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"x-mlflow-delivery-id": name, "x-mlflow-timestamp": when, "x-mlflow-signature": signature}


def test_the_registry_says_so_itself(registry: RealRegistry, tmp_path: Path) -> None:
    registry.alias("hooked", 1)
    (tmp_path / "secret").write_text(SECRET + "\n")
    flags = ["--model-uri", "models:/m@hooked", "--tracking-uri", registry.uri, "--reload-interval", "0"]
    with process(tmp_path, *flags, "--workers", "2", "--webhook-secret-file", str(tmp_path / "secret")) as server:
        url = f"{server.running.url}/hooks/mlflow"
        hook = registry.client.create_webhook("hook", url, ["model_version_alias.created"], secret=SECRET)
        try:
            registry.alias("hooked", 2)
            wait_for(lambda: served(server.running) == "2")
        finally:
            registry.client.delete_webhook(hook.webhook_id)

        def post(body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
            reply = httpx.post(url, content=body, headers=headers)
            return reply.status_code, reply.json()

        event = {"entity": "model_version_alias", "action": "created", "data": {"name": "m", "alias": "hooked"}}
        body = json.dumps(event).encode()
        headers = delivery(body)
        assert post(body, headers) == (202, {"looking": "models:/m@hooked"})
        for _ in range(8):  # whichever worker it comes to
            assert post(body, headers)[0] == 409
        assert post(body, delivery(body, int(time.time()) - 400))[0] == 401
        assert post(body, delivery(body, int(time.time()) + 400))[0] == 401
        assert post(body, delivery(body, secret="another"))[0] == 401
        assert post(body + b" ", delivery(body))[0] == 401
        assert post(body, {})[0] == 401
        assert post(b"[]", delivery(b"[]"))[0] == 400
        other = json.dumps({**event, "data": {"name": "m", "alias": "other"}}).encode()
        assert post(other, delivery(other)) == (200, {"ignored": "nothing that is served here"})
        assert SECRET not in server.log
    with process(tmp_path, *flags) as server:
        assert server.running.post("/hooks/mlflow", event).status_code == 404


def test_a_registry_that_is_down_changes_nothing(tmp_path: Path) -> None:
    port = free_port()
    with mlflow_server(tmp_path, port=port) as uri:
        registry = RealRegistry(uri, mlflow.MlflowClient(uri), tmp_path)
        for factor in (1, 2):
            registry.times(factor)
        registry.alias("champion", 1)
        flags = ["--model-uri", "models:/m@champion", "--tracking-uri", uri, "--reload-interval", "0.2"]
        server = registry.stack.enter_context(process(tmp_path, *flags))
    with registry.stack:
        errors = 'model_reloads_total{model_name="model",outcome="registry_error"}'
        wait_for(lambda: metric(server.running, errors) >= 1)
        assert server.running.predict({"instances": [{"a": 1.0}]}).json()["predictions"] == pytest.approx([1.0])
        assert "models:/m@champion cannot be resolved" in properties(server.running)["reload"]
        with mlflow_server(tmp_path, port=port):
            registry.alias("champion", 2)
            wait_for(lambda: served(server.running) == "2")
            assert "the registry answers again" in server.log


def test_a_worker_that_comes_later_has_the_version_of_today(registry: RealRegistry, tmp_path: Path) -> None:
    registry.alias("later", 1)
    flags = ["--model-uri", "models:/m@later", "--tracking-uri", registry.uri, "--reload-interval", "0.2"]
    with process(tmp_path, *flags, "--workers", "2") as server:
        registry.alias("later", 2)
        wait_for(lambda: served(server.running) == "2")
        for gone in workers_of(server):
            os.kill(gone, signal.SIGKILL)
            wait_for(lambda gone=gone: len(workers_of(server)) == 2 and gone not in workers_of(server))
        wait_for(lambda: answers(server.running.client, "/v2/health/ready") == 200)
        versions = {httpx.get(f"{server.running.url}/v1/models/model").json().get("version") for _ in range(20)}
        assert versions == {"2"}
        # The version before is in no worker any more; it is loaded again to go back to it.
        assert server.running.post("/v2/repository/models/model/revert").json()["version"] == "1"
        move_away_and_back(registry, server, "later")


def test_the_demo_server_can_be_asked_to_load(demo: Running) -> None:
    assert demo.post("/v2/repository/models/model/load").json() == {"name": "model", "load": True, "version": "1"}
    assert demo.get("/v2/models/model").json()["properties"]["previous_version"] == "1"
