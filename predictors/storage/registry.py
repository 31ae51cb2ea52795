"""The client of MLflow's tracking server and model registry."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from predictors.runtime.mlflow_plugins import leave_out_feast
from predictors.storage.failures import SourceError
from predictors.storage.fetching import progress_logged
from predictors.storage.time_limit import OutOfTime, in_time
from predictors.storage.tracking import named_tracking, require_tracking
from predictors.uris import ModelURI

T = TypeVar("T")

DOWNLOAD_PREFIX = "mlflow-kserve-model-"


class TrackingServer(Protocol):
    """Settings of a tracking server."""

    @property
    def tracking_uri(self) -> str | None: ...
    @property
    def tracking_username(self) -> str | None: ...
    @property
    def tracking_password(self) -> str | None: ...


def resolve_version(settings: TrackingServer, uri: str) -> tuple[str, str | None]:
    """Resolves a URI on the tracking server that the settings name."""
    require_tracking(uri, settings.tracking_uri)
    configure_mlflow(settings)
    return answered_in_time(lambda: pinned_uri(uri))


def answered_in_time(ask: Callable[[], T]) -> T:
    """The registry's answer, in no longer than a request and its retry may take.

    MLflow's own limit is for each piece of an answer: a server that sends a byte now and then would never reach it.
    """
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

    seconds = MLFLOW_HTTP_REQUEST_TIMEOUT.get() * (1 + MLFLOW_HTTP_REQUEST_MAX_RETRIES.get())
    try:
        return in_time(ask, seconds, "registry")
    except OutOfTime:
        words = f"the registry has not answered after {seconds:g} s ({MLFLOW_HTTP_REQUEST_TIMEOUT})"
        raise TimeoutError(words) from None


def configure_mlflow(settings: TrackingServer) -> None:
    """Sets the environment variables that MLflow reads, here and in the processes that it starts."""
    for variable, value in (
        ("MLFLOW_TRACKING_URI", named_tracking(settings.tracking_uri)),
        ("MLFLOW_TRACKING_USERNAME", settings.tracking_username),
        ("MLFLOW_TRACKING_PASSWORD", settings.tracking_password),
    ):
        if value:
            os.environ[variable] = value
    # Our own retries are logged; MLflow's seven silent ones would take minutes before the first log line.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "false")  # it would sleep for as long as it is told
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # it is only read
    leave_out_feast()
    if settings.tracking_uri:
        import mlflow

        mlflow.set_tracking_uri(settings.tracking_uri)  # overrides an earlier call in this process


def pinned_uri(uri: str) -> tuple[str, str | None]:
    """Resolves a registry URI: an alias, a stage or `latest` becomes a version. Returns the URI and the version."""
    model = ModelURI.parse(uri)
    if model.name is None or model.version:
        return uri, model.version
    if model.is_unversioned:
        raise SourceError(f"{uri}: expected models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/latest")
    import mlflow

    client = mlflow.MlflowClient()
    if model.alias:
        version = client.get_model_version_by_alias(model.name, model.alias).version
    else:
        version = latest(client, model.name, None if model.is_latest else model.stage)
    if version is None:
        raise SourceError(f"{uri}: the registry has no such version of '{model.name}'")
    if not str(version).isdecimal():
        raise SourceError(f"{uri}: expected a number as the version, the registry answers {str(version)[:100]!r}")
    return f"models:/{model.name}/{version}", str(version)


def version_tags(settings: TrackingServer, uri: str) -> dict[str, str]:
    """The tags of a registered version, which `pinned_uri` has named; none if it is no version."""
    model = ModelURI.parse(uri)
    if model.name is None or model.version is None:
        return {}
    require_tracking(uri, settings.tracking_uri)
    configure_mlflow(settings)
    import mlflow

    name, version = model.name, model.version
    return dict(answered_in_time(lambda: mlflow.MlflowClient().get_model_version(name, version).tags))


def latest(client: Any, name: str, stage: str | None) -> int | None:
    with warnings.catch_warnings():
        # Stages are deprecated in MLflow, but many teams still use them.
        warnings.simplefilter("ignore", FutureWarning)
        versions = client.get_latest_versions(name, None if stage is None else [stage])
    return max((int(version.version) for version in versions), default=None)


def download(uri: str, folder: Path | None) -> Path:
    import mlflow.artifacts

    target = tempfile.mkdtemp(prefix=DOWNLOAD_PREFIX, dir=folder)
    try:
        with progress_logged(uri, Path(target)):
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=target))
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # the next attempt starts with an empty folder
        raise
