"""Other versions of a model while it serves: found by themselves or asked for, without a request that fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

from tests.registry import MLFLOW_VARIABLES, mlflow_server
from tests.serving import Process, Running, process, wait_for
from tests.zoo.case import PIP, numbers

SECRET = "a secret between registry and server"
MOVES = 8


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in MLFLOW_VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@dataclass
class Registry:
    """A registry with a model `m` whose version n answers n × a, and the aliases that tests move."""

    uri: str
    client: mlflow.MlflowClient

    def alias(self, alias: str, version: int | str) -> None:
        self.client.set_registered_model_alias("m", alias, str(version))

    def log(self, model: Any, signature: Any, **options: Any) -> str:
        """Another version of the model; its number."""
        mlflow.set_tracking_uri(self.uri)
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(
                model, name="m", signature=signature, registered_model_name="m", pip_requirements=PIP, **options
            )
        return str(info.registered_model_version)

    def times(self, factor: float, columns: tuple[str, ...] = ("a",)) -> str:
        data = numbers()[list(columns)]
        model = LinearRegression().fit(data, data[columns[0]] * factor)
        return self.log(model, infer_signature(data, model.predict(data)))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    env = {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    }
    with mlflow_server(tmp_path_factory.mktemp("registry"), env=env) as uri:
        made = Registry(uri, mlflow.MlflowClient(uri))
        for factor in (1, 2):
            made.times(factor)
        yield made


def served(server: Running) -> str:
    version: str = server.get(f"/v1/models/{server.name}").json()["version"]
    return version


def properties(server: Running) -> dict[str, str]:
    found: dict[str, str] = server.get(f"/v2/models/{server.name}").json()["properties"]
    return found


def metric(server: Running, line: str) -> float:
    for found in server.get("/metrics").text.splitlines():
        if found.startswith(line):
            return float(found.rpartition(" ")[2])
    return 0.0


@dataclass
class Load:
    """Callers on every protocol at once; what each was told, and when."""

    server: Running
    stop: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    """When it was asked, when it was answered, and by which version."""

    def __enter__(self) -> Load:
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
                while not self.stop.is_set():
                    asked = time.monotonic()
                    version, answer = ask()
                    self.answers.append((asked, time.monotonic(), version))
                    assert answer == pytest.approx(10 * int(version), abs=1e-6), f"{answer} of version {version}"
        except BaseException as error:
            self.failures.append(f"{caller.__name__}: {error!r}")

    def v1(self, client: httpx.Client, rows: int = 1) -> Callable[[], tuple[str, float]]:
        def ask() -> tuple[str, float]:
            reply = client.post("/v1/models/model:predict", json={"instances": [{"a": 10.0}] * rows})
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
def test_the_alias_moves_under_load(registry: Registry, tmp_path: Path, workers: str) -> None:
    registry.alias("champion", 1)
    flags = ["--model-uri", "models:/m@champion", "--tracking-uri", registry.uri, "--workers", workers]
    folder = tmp_path / "temporary"
    folder.mkdir()
    flags += ["--reload-interval", "0.2"]
    with process(tmp_path, *flags, env={"TMPDIR": str(folder)}) as server, Load(server.running) as load:
        sizes, moves = [], []
        for move in range(MOVES):
            version = str(2 - move % 2)
            moves.append((time.monotonic(), version))
            registry.alias("champion", version)
            moved = len(load.answers)
            wait_for(
                lambda moved=moved, version=version: version in {one[2] for one in load.answers[moved:]},
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
        first = min(answered for _, answered, by in answers if by == version and moved < answered < end)
        late = {by for asked, answered, by in answers if first < asked and answered < end}
        assert late <= {version}, (version, late)
