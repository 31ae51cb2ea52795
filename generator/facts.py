"""Facts about a model from its MLmodel file. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictors.flavor import MLmodel
from predictors.uris import ModelURI, mlflow_spelling


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Flavor, size and other facts about a model."""

    flavor: str
    size: int | None = None
    """Bytes, if MLflow recorded them."""
    mlflow_version: str | None = None
    features: str | None = None
    """The features that it gets from Feast, in words."""

    @classmethod
    def of(cls, mlmodel: Mapping[str, Any], where: str = "the model") -> ModelFacts:
        """The facts in the content of an MLmodel file."""
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


def mistake_in(uri: str) -> str | None:
    """The mistake in an MLflow URI, if it names no model, or a registered model without a version."""
    try:
        mlflow_spelling(uri)
    except ValueError as error:
        return f"names no model: {error}"
    if ModelURI.parse(uri).is_unversioned:
        name = uri.rstrip("/")
        return f"names no version: expected {name}/VERSION or {name}@ALIAS"
    return None
