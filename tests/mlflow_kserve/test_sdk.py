"""The SDK: functions that are served here, and by a control plane."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]  # has no types
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.linear_model import LogisticRegression

import mlflow_kserve
import predictors
from mlflow_kserve import AsyncClient, AsyncProject, Client, Function, NotServing, Project, UnusableFunction
from mlflow_kserve.client.errors import ApiRefused, ApiUnreachable
from mlflow_kserve.sdk.local import LocalServer
from tests.mlflow_kserve.served_plane import ServedPlane
from tests.serving import Running, in_thread
from tests.zoo.deep import text_classifier

DEMO = Path(predictors.__path__[0]) / "demo"
ROW = {"temperature": 91.5, "vibration": 1.05, "months_since_service": 41, "load": 0.9}
BROKEN = "models:/broken/1"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with in_thread(None, model_name="served") as running:
        yield running


@pytest.fixture
def client(plane: ServedPlane, server: Running) -> Client:
    plane.backend.address, plane.backend.broken = server.url, {BROKEN}
    return Client(plane.url)


def answers(reply: Any) -> list[int]:
    assert reply.status_code == 200, reply.text
    [data] = [each["data"] for each in reply.json()["outputs"] if each["name"] == "predictions"]
    return list(data)


def test_the_names_are_those_that_are_documented() -> None:
    assert all(getattr(mlflow_kserve, name).__name__ == name for name in mlflow_kserve.__all__)


def test_seed_002_on_this_machine() -> None:
    """Its snippets, with a model of ours, and without a control plane."""
    project = Project("seed")
    function = project.new_function(
        name="mlflow-serve-function", kind="mlflowserve", path=str(DEMO), model_name="machine"
    )
    run = function.run(action="serve", backoff_limit=1, local_execution=True)
    try:
        run.refresh()
        assert run.status.state == "PENDING"
        with pytest.raises(NotServing, match="is PENDING"):
            run.invoke(json={})
        assert run.wait() is run
        assert run.status.service is not None, run.status
        data = [91.5, 1.05, 41, 0.9]
        json = {"inputs": [{"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": data}]}
        assert answers(run.invoke(json=json)) == [1]
        assert answers(run.invoke(json=json, model_name="machine", headers={"x-request-id": "7"})) == [1]
        url = f"{run.status.service['url']}/v2/models/machine"
        assert run.invoke(method="GET", url=url).json()["name"] == "machine"
        for inputs in ([ROW], pd.DataFrame([ROW]), np.array([list(ROW.values())]), {k: [v] for k, v in ROW.items()}):
            assert answers(run.invoke(inputs)) == [1]
        assert "model machine" in run.logs() or "machine" in run.logs()
        target = run._target
        assert isinstance(target, LocalServer)
        assert target.process is not None
        pid = target.process.pid
        assert run.stop().status.state == "STOPPED"
        assert not psutil.pid_exists(pid)
        with pytest.raises(NotServing, match="is STOPPED"):
            run.invoke([ROW])
        assert answers(run.resume().wait().invoke([ROW])) == [1]
    finally:
        run.stop()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for bare models; those that are made of them go into another one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])


def sklearn_function(path: Path, name: str = "bare") -> Function:
    return Project("seed").new_function(name, kind="sklearnserve", path=str(path))


def test_a_bare_pickle_is_served(bare: Path) -> None:
    """Also one of joblib, which is no pickle that Python reads by itself."""
    joblib.dump(fitted(), bare / "model.joblib")
    run = sklearn_function(bare / "model.joblib").run(action="serve", local_execution=True)
    try:
        assert answers(run.wait().invoke(np.array([[0.1], [0.9]]))) == [0, 1]
    finally:
        run.stop()


def test_a_bare_pickle_becomes_one_model(bare: Path) -> None:
    (bare / "model.pkl").write_bytes(pickle.dumps(fitted()))
    uri = sklearn_function(bare / "model.pkl", "first").spec.model_uri()
    assert mlflow.sklearn.load_model(uri).predict([[0.9]]).tolist() == [1]
    assert sklearn_function(bare / "model.pkl", "second").spec.model_uri() == uri
    (bare / "model.pkl").write_bytes(pickle.dumps(fitted().set_params(C=2.0)))
    assert sklearn_function(bare / "model.pkl").spec.model_uri() != uri


def test_a_pickle_that_cannot_be_loaded(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = bare / "model.pkl"
    broken.write_bytes(b"no pickle")
    with pytest.raises(UnusableFunction, match="model.pkl cannot be loaded: "):
        sklearn_function(broken).run()
    assert list((bare / "data").rglob("unfinished*")) == []
    monkeypatch.setenv("MLFLOW_KSERVE_ALLOW_CODE_EXECUTION", "false")
    with pytest.raises(UnusableFunction, match="is a pickle, which runs code when it is loaded"):
        sklearn_function(broken).run()


def test_a_folder_of_transformers_becomes_a_model(bare: Path) -> None:
    pipeline = text_classifier(bare / "words.txt")
    pipeline.save_pretrained(bare / "checkpoint")
    function = Project("seed").new_function("texts", kind="huggingfaceserve", path=str(bare / "checkpoint"))
    loaded = mlflow.pyfunc.load_model(function.spec.model_uri())
    text = "a small cat"
    assert loaded.predict([text])["label"].tolist() == [pipeline(text)[0]["label"]]
    (bare / "checkpoint" / "config.json").write_text('{"architectures": ["BertForSomething"]}')
    with pytest.raises(UnusableFunction, match="has BertForSomething, whose task is not known"):
        function.run()


def test_a_local_run_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {pickled_model: missing.pkl}}")
    run = Project("seed").new_function("broken", "mlflowserve", str(tmp_path)).run(local_execution=True).wait()
    assert (run.status.state, run.status.service) == ("ERROR", None)
    assert "missing.pkl" in run.status.message
    assert run.status.message in run.logs()


def function_of(client: Client, name: str, path: str = "models:/fraud/1", **more: Any) -> Function:
    return client.project("team").new_function(name, kind="mlflowserve", path=path, **more)


def test_through_a_control_plane(client: Client, plane: ServedPlane) -> None:
    run = function_of(client, "served", model_name="fraud").run(
        action="serve",
        replicas=2,
        resources={"cpu": {"requests": "2", "limits": "4"}, "mem": "4Gi", "gpu": 1},
        envs=[{"name": "A", "value": "1"}, {"name": "B", "value": {"secret": "s", "key": "k"}}],
        secrets=["database"],
        volumes=[
            {
                "volume_type": "persistent_volume_claim",
                "name": "data",
                "mount_path": "/data",
                "spec": {"claim_name": "c"},
            }
        ],
        node_selector=[{"key": "disk", "value": "ssd"}],
        affinity={"nodeAffinity": {}},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        service_type="NodePort",
        profile="spot",
    )
    assert run.wait(60).status.service == {"url": plane.backend.address}
    assert answers(run.invoke([ROW])) == answers(run.invoke([ROW], model_name="fraud")) == [1]
    assert run.invoke([ROW], model_name="another").status_code == 404
    revision = client.api.send(mlflow_kserve.client.calls.get_revision("served", "local", 1))
    assert revision["content"]["infra"] == {
        "replicas": {"min": 2, "max": 2},
        "resources": {"cores": "2", "memory": "4Gi", "gpu": 1, "limits": {"cores": "4"}},
        "placement": {
            "node_selector": {"disk": "ssd"}, "affinity": {"nodeAffinity": {}},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        },
        "volumes": [{"name": "data", "path": "/data", "pvc": "c", "read_only": False}],
        "env_from": ["database"],
        "node_capacity": "spot",
    }  # fmt: skip
    assert revision["content"]["deployment"]["environment_variables"] == {"A": "1", "B": {"secret": "s", "key": "k"}}
    assert client.api.send(mlflow_kserve.client.calls.get_serve("served"))["space"] == "team"
    assert run.logs(2) == "a line\na line\n"
    assert run.stop().status.state == "STOPPED"
    assert run.resume().wait(60).status.state == "RUNNING"
    again = function_of(client, "served", "models:/fraud/2").run(replicas=3).wait(60)
    assert again.status.state == "RUNNING"


def test_an_image_of_ones_own(client: Client) -> None:
    image = "registry.example.com/mine:1"
    assert function_of(client, "imaged", image=image).run().wait(60).status.state == "RUNNING"
    revision = client.api.send(mlflow_kserve.client.calls.get_revision("imaged", "local", 1))
    assert revision["content"]["infra"]["image"] == image


def test_what_a_control_plane_cannot_serve(client: Client) -> None:
    run = function_of(client, "failing", BROKEN).run().wait(60)
    assert run.status.state == "ERROR"
    assert run.status.message
    with pytest.raises(NotServing, match=r"failing is ERROR: .+"):
        run.invoke([ROW])
    with pytest.raises(ApiRefused, match="serve_name is 'Not_a_name'|name is 'Not_a_name'"):
        function_of(client, "Not_a_name").run()
    assert run.stop().status.state == "ERROR"  # nothing was ever active


def test_a_control_plane_that_is_away() -> None:
    with pytest.raises(ApiUnreachable, match="http://127.0.0.1:9 does not answer: Connection refused"):
        Client("http://127.0.0.1:9").new_function("f", "mlflowserve", "models:/m/1").run()

    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:9") as away:
            await away.new_function("f", "mlflowserve", "models:/m/1").run()

    with pytest.raises(ApiUnreachable, match="http://127.0.0.1:9 does not answer"):
        asyncio.run(ask())


def test_the_same_without_blocking(client: Client, plane: ServedPlane) -> None:
    async def story() -> None:
        async with AsyncClient(plane.url) as asynchronous:
            function = asynchronous.new_function("unblocked", "mlflowserve", "models:/fraud/1", model_name="served")
            run, ticks = await function.run(replicas=1), 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            await run.wait(60)
            ticking.cancel()
            assert ticks > 10
            assert run.status.state == "RUNNING"
            served = await run.invoke([ROW], url=f"{plane.backend.address}/v2/models/served/infer")
            assert answers(served) == [1]
            assert await run.logs(1) == "a line\n"
            assert (await run.stop()).status.state == "STOPPED"
            assert (await (await run.resume()).wait(60)).status.state == "RUNNING"
            with pytest.raises(ApiRefused):
                await asynchronous.new_function("Not_a_name", "mlflowserve", "models:/fraud/1").run()

    asyncio.run(story())


def test_a_local_run_without_blocking() -> None:
    async def story() -> None:
        run = await AsyncProject("seed").new_function("m", "mlflowserve", str(DEMO)).run(local_execution=True)
        try:
            await run.wait()
            assert answers(await run.invoke([ROW])) == [1]
        finally:
            await run.stop()
        assert run.status.state == "STOPPED"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("arguments", "options", "reason"),
    [
        ({"kind": "kubeai"}, {}, "kind is 'kubeai': expected one of mlflowserve"),
        ({"path": ""}, {}, "path is missing"),
        ({"path": "./no-model.pkl", "kind": "sklearnserve"}, {}, "there is no file .*no-model.pkl"),
        ({"path": "s3://bucket/model.pkl", "kind": "sklearnserve"}, {}, "is no MLflow model: download it"),
        ({"path": "hf://distilbert", "kind": "huggingfaceserve"}, {}, "hf://distilbert is no MLflow model: download it"),
        ({"path": "/tmp", "kind": "huggingfaceserve"}, {}, "is not a model of transformers"),
        ({"path": str(DEMO), "image": "mine:1"}, {"local_execution": True}, "image is 'mine:1': expected none"),
        ({"path": "/no-folder"}, {}, "has no file MLmodel"),
        ({}, {"action": "build"}, "action is 'build'"),
        ({}, {"replica": 2}, "run has no option replica: expected replicas"),
        ({}, {"resources": {"cpus": 2}}, "resources has 'cpus'"),
        ({}, {"resources": {"cpu": {"request": 2}}}, "resources.cpu has request"),
        ({}, {"service_type": "LoadBalancer"}, "service_type is 'LoadBalancer'"),
        ({}, {"volumes": [{"name": "a"}]}, "expected name, mount_path and a volume_type"),
        ({"path": str(DEMO)}, {"local_execution": True, "secrets": ["a"]}, "secrets are those of a control plane"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_made(
    arguments: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    said = {"name": "f", "kind": "mlflowserve", "path": "models:/fraud/1"} | arguments
    with pytest.raises(UnusableFunction, match=reason):
        Client("http://127.0.0.1:9").new_function(**said).run(**options)
