"""`mlflow deployments -t kserve`, through MLflow's own command line and client."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.deployments import BaseDeploymentClient, get_deploy_client
from mlflow.deployments.cli import commands
from mlflow.exceptions import MlflowException

import predictors
from controlplane.backends.backend import Key
from loadtest.peers.ports import free_port
from tests.mlflow_kserve.served_plane import ServedPlane
from tests.serving import Running, answers, in_thread, wait_for

DEMO = Path(predictors.__path__[0]) / "demo"
ROW = {"temperature": 91.5, "vibration": 1.05, "months_since_service": 41, "load": 0.9}
BROKEN = "models:/broken/1"
Command = Callable[..., str]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with in_thread(None, model_name="fraud") as running:
        yield running


@pytest.fixture
def served(plane: ServedPlane, server: Running, monkeypatch: pytest.MonkeyPatch) -> ServedPlane:
    plane.backend.address, plane.backend.broken = server.url, {BROKEN}
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", plane.url)
    return plane


@pytest.fixture
def client(served: ServedPlane) -> BaseDeploymentClient:
    return get_deploy_client("kserve")


@pytest.fixture
def deployments(served: ServedPlane) -> Command:
    def run(*arguments: object) -> str:
        done = CliRunner().invoke(commands, [str(argument) for argument in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_the_command_line(deployments: Command, tmp_path: Path) -> None:
    target = ("-t", "kserve", "--name", "fraud")
    said = deployments("create", *target, "-m", "models:/fraud/7", "-C", "cores=2", "-C", 'spec={"workers": 2}')
    assert said == "\nsklearn deployment fraud is created\n"
    names = [each["name"] for each in ast.literal_eval(deployments("list", "-t", "kserve").partition("\n")[2])]
    assert "fraud" in names
    assert "status: READY" in deployments("get", *target)
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([ROW]))
    assert json.loads(deployments("predict", *target, "-I", rows)) == {"predictions": [1]}
    deployments("predict", *target, "-I", rows, "-O", tmp_path / "predicted.json")
    assert json.loads((tmp_path / "predicted.json").read_text()) == {"predictions": [1]}
    assert "is updated (with flavor sklearn)" in deployments("update", *target, "-m", "models:/fraud/8")
    assert "model_uri: models:/fraud/8" in deployments("get", *target)
    assert deployments("delete", *target) == "Deployment fraud is deleted\n"
    assert "fraud" not in deployments("list", "-t", "kserve")
    assert "kserve:/ENV" in deployments("help", "-t", "kserve")


def test_a_config_changes_what_it_names(client: BaseDeploymentClient, served: ServedPlane) -> None:
    client.create_deployment("config", "models:/fraud/1", config={"cores": 2, "environment_variables": {"A": "1"}})
    client.update_deployment("config", config={"memory": "6", "spec": '{"workers": 2}'})
    content = list(served.backend.contents.values())[-1]
    assert content.infra["resources"] == {"cores": "2", "memory": "6Gi"}
    assert content.infra["workers"] == 2
    assert content.deployment.environment_variables == {"A": "1"}


@pytest.mark.parametrize(
    "inputs", [pd.DataFrame([ROW]), np.array([list(ROW.values())]), [list(ROW.values())], {"dataframe_records": [ROW]}]
)
def test_predictions(client: BaseDeploymentClient, inputs: object) -> None:
    if "asked" not in [each["name"] for each in client.list_deployments()]:
        client.create_deployment("asked", "models:/fraud/1")
    reply = client.predict("asked", inputs)
    assert reply.get_predictions("ndarray").tolist() == [1]


EXPLAINED = """
import sys

from predictors.pipeline.settings import Settings
from predictors.server import Server
from predictors.sklearn import SklearnModel
from predictors.storage.source import DEMO


class Explained(SklearnModel):
    def explain(self, payload, headers=None):
        return {"explanations": [{name: value / 10 for name, value in row.items()} for row in payload["instances"]]}


port, sys.argv = int(sys.argv[1]), sys.argv[:1]
settings = Settings(model_name="explained", host="127.0.0.1", http_port=port, grpc_port=0)
Server(settings).start([Explained("explained", str(DEMO), settings=settings)])
"""


def test_explanations(client: BaseDeploymentClient, served: ServedPlane, deployments: Command, tmp_path: Path) -> None:
    """Those of a model that has an explainer; for the others MLflow's words."""
    port = free_port()
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([ROW]))
    client.create_deployment("fraud", "models:/fraud/1")
    with pytest.raises(MlflowException, match="explanations is not yet supported"):
        client.explain("fraud", pd.DataFrame([ROW]))
    client.delete_deployment("fraud")
    served.backend.addresses[Key("local", "explained")] = f"http://127.0.0.1:{port}"
    client.create_deployment("explained", "models:/fraud/1")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", EXPLAINED, str(port)], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            wait_for(
                lambda: answers(http, "/v2/models/explained/ready") == 200,
                lambda: process.poll() is not None and (tmp_path / "log").read_text(),
            )
        said = deployments("explain", "-t", "kserve", "--name", "explained", "-I", rows)
        assert json.loads(said) == {"explanations": [{name: value / 10 for name, value in ROW.items()}]}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with pytest.raises(NotImplementedError):
        client.predict_stream("explained", {"inputs": []})


def test_errors_are_mlflows(client: BaseDeploymentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_deployment("there", "models:/fraud/1")
    with pytest.raises(MlflowException, match="there is a deployment there in local already") as conflict:
        client.create_deployment("there", "models:/fraud/1")
    assert conflict.value.error_code == "RESOURCE_CONFLICT"
    with pytest.raises(MlflowException, match="broken in local is not deployed: .+"):
        client.create_deployment("broken", BROKEN)
    client.delete_deployment("broken")
    with pytest.raises(MlflowException, match="cores is 65: expected 64 or less"):
        client.create_deployment("large", "models:/fraud/1", config={"cores": "65"})
    with pytest.raises(MlflowException, match="spec is not JSON"):
        client.create_deployment("large", "models:/fraud/1", config={"spec": "{"})
    for ask in (client.get_deployment, client.update_deployment, client.predict):
        with pytest.raises(MlflowException, match="there is no deployment nowhere in local") as missing:
            ask("nowhere")
        assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.delete_deployment("nowhere")
    with pytest.raises(MlflowException, match=r"there refuses the request \(400\).*temperature"):
        client.predict("there", [{"load": 1}])
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", "http://127.0.0.1:9")
    with pytest.raises(MlflowException, match="does not answer") as away:
        get_deploy_client("kserve").list_deployments()
    assert away.value.error_code == "TEMPORARILY_UNAVAILABLE"


def test_an_endpoint_is_an_environment(client: BaseDeploymentClient) -> None:
    client.create_endpoint("canada", config={"namespace": "ml"})
    client.update_endpoint("canada", config={"domain_suffix": ".ca", "quotas": '{"serves": 1}'})
    configs = client.get_endpoint("canada")["environment_configs"]
    assert (configs["namespace"], configs["domain_suffix"], configs["quotas"]["serves"]) == ("ml", ".ca", 1)
    assert "canada" in [each["name"] for each in client.list_endpoints()]
    made = get_deploy_client("kserve:/canada").create_deployment("moose", "models:/fraud/1")
    assert made == {"name": "moose", "flavor": "unknown", "endpoint": "canada"}  # its server has another model
    assert client.get_deployment("moose", endpoint="canada")["status"] == "READY"
    assert client.predict(inputs=[list(ROW.values())], endpoint="canada")["predictions"] == [1]
    with pytest.raises(MlflowException, match="environment 'canada' is used by moose"):
        client.delete_endpoint("canada")
    client.delete_deployment("moose", config={"forget": "true"}, endpoint="canada")
    with pytest.raises(MlflowException, match="canada has 0 deployments: expected --name"):
        client.predict(inputs=[], endpoint="canada")
    client.delete_endpoint("canada")
    with pytest.raises(MlflowException, match="no environment 'canada'"):
        client.get_endpoint("canada")


def test_what_is_begun_need_not_be_waited_for(client: BaseDeploymentClient, served: ServedPlane) -> None:
    served.backend.slow = {"models:/slow/1"}
    assert client.create_deployment("slow", "models:/slow/1", config={"wait": "false"})["name"] == "slow"
    with pytest.raises(MlflowException, match="slow in local has no address yet"):
        client.predict("slow", [])


def test_run_local_serves_here(tmp_path: Path) -> None:
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "deployments", "run-local", "-t", "kserve", "--name", "here", "-m", str(DEMO),
        "-C", f"http_port={port}", "-C", "grpc_port=0", "-C", "host=127.0.0.1",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            wait_for(
                lambda: answers(http, "/v2/models/here/ready") == 200,
                lambda: process.poll() is not None and (tmp_path / "log").read_text(),
            )
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
