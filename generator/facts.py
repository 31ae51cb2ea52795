"""What is known of a model before it is served: what its MLmodel file says. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictors import uris
from predictors.flavor import MLmodel

REGISTRY_SCHEMES = ("models:", "runs:", "mlflow-artifacts:", "mlflow:")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The flavor of a model, its size, and what MLflow calls it."""

    flavor: str
    size: int | None = None
    """Bytes, where MLflow wrote them down."""
    mlflow_version: str | None = None
    features: str | None = None
    """What it gets from Feast, in words."""

    @classmethod
    def of(cls, mlmodel: Mapping[str, Any], where: str = "the model") -> ModelFacts:
        """The facts that the content of an MLmodel file tells."""
        size = mlmodel.get("model_size_bytes")
        flavor = MLmodel(Path(where), mlmodel).detect().name
        version = mlmodel.get("mlflow_version")
        return cls(
            flavor,
            size if isinstance(size, int) else None,
            None if version is None else str(version),
            features_of(mlmodel.get("metadata")),
        )


def features_of(metadata: Any) -> str | None:
    declared = metadata.get("feast") if isinstance(metadata, Mapping) else None
    if not isinstance(declared, Mapping):
        return None
    service = declared.get("feature_service")
    return f"feature service '{service}'" if service else f"{len(declared.get('features') or ())} features"


def misspelt(uri: str) -> str | None:
    """What was expected of a URI with KServe's scheme for MLflow, if it is none."""
    try:
        uris.spelled(uri)
    except ValueError as error:
        return str(error)
    return None


def as_mlflow(uri: str) -> str:
    """As MLflow itself spells it, if it is a URI of MLflow's."""
    return uri if misspelt(uri) else uris.spelled(uri)


def is_mlflow(uri: str) -> bool:
    """Whether only MLflow knows where the URI leads."""
    return uri.startswith(REGISTRY_SCHEMES)


def is_moving(uri: str) -> bool:
    """Whether the URI may name another version tomorrow."""
    return uris.is_moving(as_mlflow(uri))


def version_of(uri: str) -> str | None:
    """The version or alias that a URI of a registered model ends on."""
    if not as_mlflow(uri).startswith("models:/"):
        return None
    return uri.rpartition("@")[2] if "@" in uri else uri.rpartition("/")[2]


def is_unversioned(uri: str) -> bool:
    """Whether a registered model is named without version or alias; `models:/m-…` is a logged model by its id."""
    return bool(re.fullmatch(r"models:/(?!m-)[^/@]+/?", as_mlflow(uri)))


def version_wanted(uri: str) -> str:
    """What is said of such a URI."""
    name = uri.rstrip("/")
    return f"names no version: expected {name}/VERSION or {name}@ALIAS"
