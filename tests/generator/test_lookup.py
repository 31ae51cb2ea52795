"""What is known of models: from a registry of MLflow, from a folder, or a line that says why not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
import yaml

from generator import ModelFacts
from generator.cli.console import UNREACHABLE, USAGE
from generator.cli.main import main
from generator.lookup import LookupFailed, fetch_facts
from tests.registry import MLFLOW_VARIABLES, mlflow_server

DEMO = Path(__file__).parent.parent.parent / "predictors" / "demo"


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """MLflow's variables and its own memory of the server are as they were."""
    for name in (*MLFLOW_VARIABLES, "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with one model, registered as version 1, champion."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as uri:
        client = mlflow.MlflowClient(uri)
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, str(DEMO), "model")
        client.create_registered_model("fraud")
        client.create_model_version("fraud", f"{run.info.artifact_uri}/model", run.info.run_id)
        client.set_registered_model_alias("fraud", "champion", "1")
        client.set_tag(run.info.run_id, "id", run.info.run_id)
        yield f"{uri} {run.info.run_id}"


@pytest.mark.parametrize(
    "uri",
    [
        "models:/fraud@champion", "models:/fraud/1", "mlflow://models/fraud/1", "mlflow://models/fraud@champion",
        "models:/fraud/latest", "runs:/RUN/model", "mlflow://runs/RUN/model", "mlflow-artifacts:/0/RUN/artifacts/model",
        "mlflow://models:/fraud/1", "mlflow://models:/fraud@champion", "mlflow://artifacts/0/RUN/artifacts/model",
    ],
)  # fmt: skip
def test_a_registry_tells(registry: str, uri: str) -> None:
    server, run = registry.split()
    facts = fetch_facts(uri.replace("RUN", run), server)
    assert facts == ModelFacts.of(yaml.safe_load((DEMO / "MLmodel").read_text()))
    assert facts.flavor == "sklearn"
    assert not any(Path().iterdir())  # nothing is left in the folder


def test_render_asks_the_server_that_the_environment_names(
    registry: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.split()[0])
    assert main(["--model", "models:/fraud@champion", "--name", "fraud", "--tracking-secret", "mlflow"]) == 0
    manifests = capsys.readouterr().out
    assert "predictor-sklearn" in manifests
    assert "127.0.0.1" not in manifests  # of no use in a pod
    assert main(["init", "--model", "models:/fraud@champion"]) == 0
    assert "name: fraud  #" in capsys.readouterr().out


@pytest.mark.parametrize("uri", ["models:/fraud@champion", "mlflow://models:/fraud@champion"])
def test_a_first_spec_has_the_name_of_the_model(registry: str, capsys: pytest.CaptureFixture[str], uri: str) -> None:
    assert main(["init", "--model", uri, "--tracking-uri", registry.split()[0]]) == 0
    spec = capsys.readouterr().out
    assert "\nname: fraud  #" in spec
    assert "The predictor follows the registry" in spec


def test_a_model_that_is_not_there(registry: str) -> None:
    with pytest.raises(
        LookupFailed, match="^models:/other/1 cannot be looked up: .*not found; to go on without it, set its flavor"
    ):
        fetch_facts("models:/other/1", registry.split()[0])


def test_a_model_without_a_version_is_told_before_anybody_is_asked() -> None:
    with pytest.raises(
        LookupFailed, match="it names no version: expected models:/fraud/VERSION or models:/fraud@ALIAS"
    ):
        fetch_facts("models:/fraud", "http://127.0.0.1:1")


@pytest.mark.parametrize("uri", ["mlflow://fraud/1", "mlflow://models/", "mlflow://model/fraud"])
def test_a_spelling_that_nobody_knows(uri: str) -> None:
    with pytest.raises(
        LookupFailed, match=f"^{uri} cannot be looked up: it names no model: expected mlflow://models/…"
    ):
        fetch_facts(uri, "http://127.0.0.1:1")


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(LookupFailed, match="no response within 0.5 s"):
            fetch_facts("models:/fraud/1", address, timeout=0.5)


def test_imports_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def timed(action: Callable[[], None], uri: str, timeout: float) -> None:
        steps.append("timed")
        raise LookupFailed(uri)

    monkeypatch.setattr("generator.lookup.import_mlflow", lambda: steps.append("imported"))
    monkeypatch.setattr("generator.lookup.run_with_timeout", timed)
    with pytest.raises(LookupFailed):
        fetch_facts("models:/fraud/1", "http://127.0.0.1:1")
    assert steps == ["imported", "timed"]


def test_the_flag_for_the_limit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        arguments = ["--model", "models:/fraud@champion", "--name", "fraud", "--lookup-timeout", "0.4"]
        for command in ("init", "render"):
            assert main([command, *arguments]) == UNREACHABLE
            assert "no response within 0.4 s" in capsys.readouterr().err
    assert main(["init", *arguments[:-1], "0"]) == USAGE
    assert "--lookup-timeout: invalid seconds value: '0'" in capsys.readouterr().err


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(
        LookupFailed,
        match=f"cannot be looked up: no connection to http://{address}; to go on without it, set its flavor",
    ):
        fetch_facts("models:/fraud/1", f"http://me:secret@{address}")


def test_without_a_server_mlflow_does_not_begin_a_store_of_its_own() -> None:
    with pytest.raises(LookupFailed, match="no tracking server is named"):
        fetch_facts("runs:/0123/model")
    assert not any(Path().iterdir())


def test_a_folder_tells(tmp_path: Path) -> None:
    assert (
        fetch_facts(str(DEMO))
        == fetch_facts(f"file://{DEMO}")
        == ModelFacts.of(yaml.safe_load((DEMO / "MLmodel").read_text()))
    )
    with pytest.raises(LookupFailed, match="is not an MLflow model"):
        fetch_facts(str(tmp_path))
    (tmp_path / "MLmodel").write_text("flavors: {spark: {}}\n")
    with pytest.raises(LookupFailed, match=r"has no flavor that can be served \(found: spark\)"):
        fetch_facts(str(tmp_path))


@pytest.mark.parametrize("uri", ["pvc://models/fraud", "hf://org/model", "oci://registry/model"])
def test_what_only_the_cluster_can_read(uri: str) -> None:
    with pytest.raises(LookupFailed, match="only the cluster can read"):
        fetch_facts(uri)
