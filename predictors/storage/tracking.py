"""The tracking server or store that MLflow is to ask. MLflow itself would begin one where none is."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from predictors.storage.failures import Misconfigured
from predictors.storage.redaction import without_secrets
from predictors.uris import DEFAULT_STORES, ModelURI, local_store

ADVICE = "set MLFLOW_TRACKING_URI or --tracking-uri, for example to http://localhost:5000"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
DATABASE_PACKAGES = ("sqlalchemy", "alembic")


def named_tracking(tracking_uri: str | None = None) -> str | None:
    """The tracking server by its setting or by MLflow's variables; a server of the registry can answer for both."""
    named = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    registry = os.environ.get("MLFLOW_REGISTRY_URI", "")
    return named or (registry if registry.startswith(("http://", "https://")) else None)


def require_tracking(uri: str, tracking_uri: str | None) -> None:
    """Raises `Misconfigured` if MLflow knows nobody to ask about the model."""
    if not ModelURI.parse(uri).is_mlflow or "://" in uri:
        return
    named = named_tracking(tracking_uri)
    if named:
        require_store(named)
        return
    if not any(Path(store).exists() for store in DEFAULT_STORES):
        raise Misconfigured(f"no tracking server is named, and {without_secrets(uri)} needs one: {ADVICE}")
    import mlflow

    require_store(mlflow.get_tracking_uri())


def has_no_store() -> bool:
    """Whether MLflow would begin a store in the working folder as soon as something is logged. Imports MLflow."""
    import mlflow

    store = local_store(mlflow.get_tracking_uri())
    return store is not None and not store.exists()


def require_store(tracking_uri: str) -> None:
    shown = without_secrets(tracking_uri)
    path = local_store(tracking_uri)
    if path is not None and not path.exists():
        raise Misconfigured(f"there is no {path}, which {shown} names as MLflow's store: {ADVICE}")
    if tracking_uri.split(":")[0].split("+")[0] in DATABASES and not all(map(find_spec, DATABASE_PACKAGES)):
        raise Misconfigured(f"{shown} is a database, which needs the full MLflow: pip install mlflow")
