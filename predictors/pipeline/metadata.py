"""Metadata of the server and of the model, the same over REST and gRPC."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from predictors.model.loaded import Loaded
from predictors.model.tensors import input_tensors

EXTENSIONS = ["model_repository", "binary_tensor_data"]


def server_metadata() -> dict[str, Any]:
    return {"name": "mlflow-kserve", "version": metadata.version("mlflow-kserve"), "extensions": EXTENSIONS}


def model_metadata(name: str, loaded: Loaded, more: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "versions": [loaded.version],
        "platform": f"mlflow_{loaded.flavor}",
        "inputs": input_tensors(loaded.plan),
        "outputs": list(loaded.outputs),
        "properties": properties(loaded) | more,
    }


def properties(loaded: Loaded) -> dict[str, str]:
    """Further properties of a served model, as text."""
    return {
        "flavor": loaded.flavor,
        "methods": ",".join(loaded.methods),
        "engine": loaded.choice.name,
        "engine_reason": loaded.choice.reason,
        "model_uri": loaded.source.resolved_uri,
        "asked_uri": loaded.source.uri,
        "digest": loaded.source.digest or "",
        "run_id": str(loaded.mlmodel.content.get("run_id") or ""),
        "dependencies": dependencies(loaded),
    }


def dependencies(loaded: Loaded) -> str:
    """The requirements of the model that are not installed; `ok`, or `not checked`."""
    if loaded.unmet is None:
        return "not checked"
    return "; ".join(map(str, loaded.unmet)) or "ok"
