"""All ways in to one control plane of this machine, whose serves are real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.deployments import get_deploy_client

import predictors
from mlflow_kserve import Client
from tests.controlplane.up import Up, cleaned, up
from tests.mlflow_kserve.commands import Shell

DEMO = Path(predictors.__path__[0]) / "demo"
ROW = {"temperature": 91.5, "vibration": 1.05, "months_since_service": 41, "load": 0.9}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Up]:
    with cleaned(tmp_path / "data"), up(tmp_path / "data") as control_plane:
        yield control_plane


def test_what_one_way_deploys_all_others_see(
    running: Up, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Shell(capsys)
    run("login", running.url)
    monkeypatch.chdir(DEMO.parent)
    deployed = run.json("deploy-model", "--serve-name", "machines", "--model-uri", "demo", "--cores", 2, "--wait")
    assert (deployed["status"], deployed["model_uri"]) == ("READY", str(DEMO))

    mlflow = get_deploy_client("kserve")
    assert mlflow.predict("machines", [list(ROW.values())])["predictions"] == [1]
    assert mlflow.list_deployments()[0]["name"] == "machines"

    function = Client().new_function("machines", kind="mlflowserve", path=str(DEMO))
    served = function.run(envs={"MLFLOW_KSERVE_WARM_UP": "false"}).wait()
    assert served.status.service == {"url": deployed["url"]}, served.status
    assert served.invoke([ROW]).json()["outputs"][0]["data"] == [1]
    assert "loaded machines" in served.logs()
    assert run.json("deployment", "status", "machines")["revision"] == 2

    assert served.stop().status.state == "STOPPED"
    assert mlflow.list_deployments() == []
