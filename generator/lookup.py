"""Looks models up: reads their MLmodel files from folders or through MLflow. The only module with network access."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from generator.facts import ModelFacts, mistake_in
from predictors.flavor import FLAVORS, MLMODEL, FlavorError, read_mlmodel
from predictors.uris import DEFAULT_STORES, ModelURI, local_store

TIMEOUT = 30.0
"""Seconds for the tracking server to respond."""
STORES = ("s3", "gs", "abfss", "wasbs", "hdfs", "dbfs")
"""Object stores that MLflow can read, if the client library is installed."""


class LookupFailed(Exception):
    """A model cannot be looked up; the message is one line."""


def fetch_facts(uri: str, tracking_uri: str | None = None, timeout: float = TIMEOUT) -> ModelFacts:
    """The facts in the MLmodel file of a model; raises LookupFailed."""
    model = ModelURI.parse(uri)
    if folder := model.local_folder:
        return read(folder, uri)
    if not model.is_mlflow and model.scheme not in STORES:
        raise unreachable(uri, f"only the cluster can read {model.scheme}://")
    if mistake := mistake_in(uri):
        raise unreachable(uri, f"it {mistake}")
    if model.is_mlflow:
        require_store(uri, tracking_uri)
    import_mlflow()  # which may take longer than the lookup, and is not to be counted
    with tempfile.TemporaryDirectory(prefix="mlflow-kserve-") as target:
        run_with_timeout(lambda: download(model.text, tracking_uri, target), uri, timeout)
        return read(Path(target), uri)


def require_store(uri: str, tracking_uri: str | None) -> None:
    """Raises LookupFailed if no store of MLflow's is named, or none is there: MLflow would begin one in this folder."""
    named = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or os.environ.get("MLFLOW_REGISTRY_URI")
    if not named:
        if not any(Path(name).exists() for name in DEFAULT_STORES):
            raise unreachable(uri, "no tracking server is named, neither by MLFLOW_TRACKING_URI nor by --tracking-uri")
        import_mlflow()
        import mlflow

        named = mlflow.get_tracking_uri()
    store = local_store(named)
    if store is not None and not store.exists():
        raise unreachable(uri, f"there is no {store}, which is to be MLflow's store: set MLFLOW_TRACKING_URI")


def read(folder: Path, uri: str) -> ModelFacts:
    try:
        return ModelFacts.of(read_mlmodel(folder).content, uri)
    except FlavorError as error:
        raise unreachable(uri, str(error).replace(str(folder), uri)) from None


def import_mlflow() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.store.artifact.artifact_repository_registry  # noqa: F401


def download(uri: str, tracking_uri: str | None, target: str) -> None:
    """Downloads only the MLmodel file."""
    # MLflow's own seven silent retries would take minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # it is only read
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if tracking_uri:
            mlflow.set_tracking_uri(tracking_uri)
        get_artifact_repository(uri).download_artifacts(MLMODEL, target)


def run_with_timeout(action: Callable[[], None], uri: str, timeout: float) -> None:
    """Runs the action with a time limit."""
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            action()
        except BaseException as error:  # of any kind: it is raised in the calling thread
            failed.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise unreachable(uri, f"no response within {timeout:g} s")
    if failed:
        raise unreachable(uri, reason(failed[0]))


def reason(error: BaseException) -> str:
    """The error in one line, without credentials in URLs."""
    text = (str(error).strip().splitlines() or [""])[0]
    if refused := re.match(r"API request to (\w+://)(?:[^/@]*@)?([^/]+)\S* failed with exception", text):
        return f"no connection to {refused[1]}{refused[2]}"
    return re.sub(r"//[^/@\s]*@", "//", f"{type(error).__name__}: {text[:300]}").removesuffix(": ")


def unreachable(uri: str, why: str) -> LookupFailed:
    flavors = ", ".join(flavor.name for flavor in FLAVORS)
    advice = f"to go on without it, set its flavor ({flavors}) with --flavor or in the spec"
    return LookupFailed(f"{uri} cannot be looked up: {why.removesuffix('.')}; {advice}")
