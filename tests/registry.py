"""A real MLflow tracking server with a registry, on loopback."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import mlflow

from loadtest.peers.ports import free_port
from predictors.runtime.mlflow_plugins import leave_out_feast
from tests import spawner
from tests.serving import answers, wait_for

# The settings go into MLflow's own variables.
MLFLOW_VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER",
)

leave_out_feast()  # tests ask registries themselves


@contextlib.contextmanager
def mlflow_server(folder: Path, *, port: int | None = None, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Its URI, while it runs; what it stores stays in the folder.

    It is what `mlflow server` starts, with the variables that tell it so: the command's own process and those that
    evaluate traces are left out, since each imports MLflow once more.
    """
    port = port or free_port()
    uri = f"http://127.0.0.1:{port}"
    variables = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/store.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        **(env or {}),
    }
    with (folder / "log").open("wb") as log:
        started = spawner.start(
            "uvicorn", "--host", "127.0.0.1", "--port", str(port), "mlflow.server.fastapi_app:app",
            output=log, env=variables, folder=folder,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=uri) as client:
            wait_for(
                lambda: answers(client, "/health") == 200,
                lambda: started.poll() is not None and (folder / "log").read_text(),
            )
        yield uri
    finally:
        started.terminate()
        started.wait(30)


def register(tracking: str, folder: Path, name: str, alias: str | None = None) -> str:
    """Logs a saved model as it is and registers it, as another version of what has the name; the version."""
    client = mlflow.MlflowClient(tracking)
    experiment = client.get_experiment_by_name(name)
    run = client.create_run(experiment.experiment_id if experiment else client.create_experiment(name))
    client.log_artifacts(run.info.run_id, str(folder), "model")
    if experiment is None:
        client.create_registered_model(name)
    version = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id).version
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return str(version)
