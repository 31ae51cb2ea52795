"""The words and flags of Darwin ML Serve's command line, as it is described."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mlflow_kserve.commands import Shell
from tests.mlflow_kserve.served_plane import ServedPlane


@pytest.fixture
def hermes(capsys: pytest.CaptureFixture[str], plane: ServedPlane, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", plane.url)
    return Shell(capsys)


def test_one_click_deployment(hermes: Shell) -> None:
    hermes(
        "deploy-model", "--serve-name", "my-model", "--model-uri", "models:/my-model/Production", "--artifact-version",
        "v1", "--cores", "4", "--memory", "8", "--wait",
    )  # fmt: skip
    assert hermes.json("get-serve-status", "--serve-name", "my-model")["status"] == "READY"
    hermes("undeploy-model", "--serve-name", "my-model", "--artifact-version", "v1", "--wait")
    assert hermes.json("get-serve-status", "--serve_name", "my-model")["status"] == "STOPPED"


def test_every_flag_of_deploy_model(hermes: Shell) -> None:
    begun = hermes.json(
        "deploy-model", "--serve_name", "all-flags", "--artifact_version", "v1", "--model_uri", "s3://bucket/path/to/model",
        "--cores", "4", "--memory", "8", "--node_capacity", "spot", "--min_replicas", "1", "--max_replicas", "3",
        "--storage_strategy", "pvc",
    )  # fmt: skip
    assert begun["artifact_version"] == "v1"
    infra = hermes.json("infra", "get", "all-flags")
    assert infra["api_serve_infra_config"]["node_capacity_type"] == "spot"
    assert infra["api_serve_infra_config"]["max_replicas"] == 3
    assert infra["spec"]["storage"]["strategy"] == "pvc"


def test_the_standard_way(hermes: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    hermes("create-environment", "--name", "dev", "--domain-suffix", ".dev", "--cluster-name", "kind", "--namespace", "serve",
           "--ft-redis-url", "redis://redis:6379", "--workflow-url", "http://workflow", "--security-group", "sg-1",
           "--subnets", "subnet-1,subnet-2")  # fmt: skip
    monkeypatch.setenv("ENV", "dev")
    hermes("create-serve", "--name", "test", "--type", "api", "--space", "serve", "--description", "Test serve")
    config = {"backend_type": "fastapi", "cores": 2, "memory": 4, "node_capacity_type": "spot", "min_replicas": 1}
    said = hermes.json("create-serve-config", "--serve-name", "test", "--api-config", json.dumps(config))
    assert said["env"] == "dev"
    hermes("update-serve-config", "--serve_name", "test", "--api_config", '{"max_replicas": 3}')
    assert hermes.json("infra", "get", "test", "--env", "dev")["api_serve_infra_config"] == {
        **config, "max_replicas": 3, "additional_hosts": [],
    }  # fmt: skip
    hermes("artifact", "create", "test", "v1.0.0", "--model-uri", "models:/fraud/1")
    hermes("deploy-artifact", "--serve-name", "test", "--artifact-version", "v1.0.0",
           "--api-serve-deployment-config", '{"environment_variables": {"A": "1"}}', "--wait")  # fmt: skip
    assert hermes.json("get-serve-status", "--serve-name", "test")["env"] == "dev"


@pytest.mark.slow
def test_a_starter_repository_deploys_itself(hermes: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, trained, committed, and deployed with what its deploy.yaml says."""
    folder = tmp_path / "starter"
    remote = f"file://{folder}"
    values = tmp_path / "values.yaml"
    values.write_text(f"space: ml-team\ngithub_repo_url: {remote}\n")
    hermes("create-serve-repo", "--name", "starter", "--filename", values, "--output", folder)
    assert "is there already" in hermes("create-serve-repo", "--name", "starter", "--output", folder, status=2).err
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, capture_output=True)
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    assert hermes.json("create-serve")["space"] == "ml-team"
    hermes("create-serve-config", "--env", "local")
    job = hermes.json("create-artifact", "--version", "v1", "--wait")
    assert job["status"] == "SUCCESSFUL"
    assert hermes.json("get-artifact-status", "--job_id", job["job_id"])["commit"]
    hermes("deploy-artifact", "--artifact_version", "v1", "--wait")
    assert hermes.json("get-serve-status")["artifact_version"] == "v1"


def test_a_template_of_ones_own(hermes: Shell, tmp_path: Path) -> None:
    (tmp_path / "template" / "$name").mkdir(parents=True)
    (tmp_path / "template" / "$name" / "serve.txt").write_text("$name in $space")
    hermes("create-serve-repo", "-t", tmp_path / "template", "--name", "mine", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "mine" / "serve.txt").read_text() == "mine in "


def test_what_is_missing_is_named(hermes: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--serve-name is missing" in hermes("get-serve-status", status=2).err
    assert "nothing is said" in hermes("create-serve-config", "--serve-name", "x", status=2).err
    assert "is not JSON" in hermes("update-serve-config", "--serve-name", "x", "--api-config", "{", status=2).err
