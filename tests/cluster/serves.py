"""Serves for tests: small ones, on models whose answer is the number of their version."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from sklearn.dummy import DummyRegressor

from generator import ServeSpec, render
from tests.cluster.live import Document, LiveCluster
from tests.registry import register
from tests.serving import Running

ROW = [1.0, 2.0, 3.0]
VERSIONS = 3
CRASHES = VERSIONS + 1
"""The version that ends the process which loads it."""
MISSING = 99
"""A version that is not there."""
SIZE = {"cores": "100m", "memory": "512Mi", "limits": {"cores": "2", "memory": "1Gi"}}
"""Of a pod: several must fit on a small machine, and start soon."""
PATIENT = ["--max-wait=20"]
"""Flags of a server that refuses nobody because a busy machine stalls for a second."""
SECRET = "mlflow-tracking"


def tracking_secret(cluster: LiveCluster) -> Document:
    """What pods know MLflow by, whether their serve or a runtime's storage container asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "stringData": {"MLFLOW_TRACKING_URI": cluster.tracking_in_pods},
    }


def save_constant(folder: Path, answer: float, format: str = "skops") -> None:
    """Saves a model that always gives one number."""
    model = DummyRegressor(strategy="constant", constant=answer).fit(np.zeros((1, len(ROW))), [answer])
    signature = ModelSignature(Schema([TensorSpec(np.dtype("float64"), (-1, len(ROW)))]))
    mlflow.sklearn.save_model(
        model, folder, signature=signature, pip_requirements=["scikit-learn"], serialization_format=format
    )


class EndsProcess:
    """What ends the process that reads it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)


def register_crash(tracking: str, name: str) -> None:
    """Registers one more version: native code that crashes could not be worse."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        save_constant(model, CRASHES, "cloudpickle")
        (model / "model.pkl").write_bytes(pickle.dumps(EndsProcess()))
        assert register(tracking, model, name) == str(CRASHES)


def register_versions(tracking: str, name: str, count: int = VERSIONS) -> None:
    """Registers versions 1 to `count` of a model; each answers with its number."""
    for number in range(1, count + 1):
        with tempfile.TemporaryDirectory() as folder:
            save_constant(Path(folder, "model"), number)
            assert register(tracking, Path(folder, "model"), name) == str(number)


def spec_of(cluster: LiveCluster, namespace: str, model: str, **fields: Any) -> ServeSpec:
    """A serve called `fraud` with the images of the cluster, unless the fields say otherwise."""
    given: dict[str, Any] = {
        "name": "fraud", "namespace": namespace, "model": model, "flavor": "sklearn",
        "image_registry": cluster.registry, "image_tag": cluster.tag,
        "tracking": {"secret": SECRET},
        "resources": SIZE, "replicas": {"min": 2, "max": 4}, "drain_delay": "5s", "grace_period": "10s",
        **fields,
    }  # fmt: skip
    return ServeSpec.model_validate(given)


def documents_of(spec: ServeSpec) -> list[Document]:
    return [dict(one) for one in render(spec)]


@contextlib.contextmanager
def through_gateway(cluster: LiveCluster, name: str, namespace: str) -> Iterator[Running]:
    """A ready serve, as callers outside the cluster reach it."""
    assert cluster.gateway
    host = cluster.host(name, namespace)
    with httpx.Client(base_url=cluster.gateway, headers={"Host": host}, timeout=60) as client:
        address = urlsplit(cluster.gateway).netloc
        yield Running(cluster.gateway, address, name, client, (("grpc.default_authority", host),))
