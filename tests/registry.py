"""A real MLflow tracking server with a registry, on loopback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import mlflow
import psutil

from loadtest.peers.ports import free_port
from predictors.runtime.mlflow_plugins import leave_out_feast
from tests import spawner
from tests.serving import answers, wait_for
from tests.spawner import Forked

# The settings go into MLflow's own variables.
MLFLOW_VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER",
)

WITHOUT_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Eight processes that evaluate traces: each imports MLflow, none is used."""

leave_out_feast()  # tests ask registries themselves


@contextlib.contextmanager
def mlflow_server(folder: Path, *, port: int | None = None, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Its URI, while it runs; what it stores stays in the folder."""
    port = port or free_port()
    uri = f"http://127.0.0.1:{port}"
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{folder}/store.db",
        "--artifacts-destination": str(folder / "artifacts"),
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "log").open("wb") as log:
        variables = {**os.environ, **WITHOUT_JOBS, "PATH": path, **(env or {})}
        arguments = [part for option in options.items() for part in option]
        started = spawner.start("mlflow", "server", *arguments, output=log, env=variables, folder=folder)
    try:
        with httpx.Client(base_url=uri) as client:
            wait_for(
                lambda: answers(client, "/health") == 200,
                lambda: started.poll() is not None and (folder / "log").read_text(),
            )
        yield uri
    finally:
        for process in processes_of(started):
            process.terminate()
        started.wait(30)


def processes_of(started: Forked) -> list[psutil.Process]:
    """MLflow's command and the web server that it starts, which does not end with it."""
    try:
        command = psutil.Process(started.pid)
        return [command, *command.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


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
