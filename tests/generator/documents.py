"""Hand-written documents, good ones, and the way to spoil them at one place."""

from __future__ import annotations

import copy
from typing import Any

Document = dict[str, Any]

# A value that takes a field away.
GONE = object()


def changed(document: Document, path: str, value: Any) -> Document:
    """A copy with another value at the path (`spec.predictor.model.env.0.name`, a `/` for dots within names)."""
    result = copy.deepcopy(document)
    *parents, last = [int(part) if part.isdigit() else part.replace("/.", ".") for part in _split(path)]
    place: Any = result
    for part in parents:
        place = place[part] if isinstance(part, int) else place.setdefault(part, {})
    if value is GONE:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return result


def _split(path: str) -> list[str]:
    """Parts of a path; what stands in brackets (a label's key) is one part."""
    head, bracket, rest = path.partition("[")
    parts = [part for part in head.split(".") if part]
    if not bracket:
        return parts
    inside, _, tail = rest.partition("]")
    return [*parts, inside, *_split(tail)]


def service(mode: str = "Standard", **predictor: Any) -> Document:
    """An InferenceService as a person would write it."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "fraud",
            "namespace": "models",
            "labels": {"app.kubernetes.io/name": "fraud"},
            "annotations": {"serving.kserve.io/deploymentMode": mode},
        },
        "spec": {
            "predictor": {
                "serviceAccountName": "fraud",
                "minReplicas": 1,
                "maxReplicas": 3,
                "model": {
                    "modelFormat": {"name": "mlflow", "version": "2"},
                    "protocolVersion": "v2",
                    "storageUri": "models:/fraud/3",
                    "args": ["--workers=1"],
                    "env": [
                        {"name": "LOG_LEVEL", "value": "info"},
                        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "fraud", "key": "token"}}},
                    ],
                    "ports": [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}],
                    "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}},
                    "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "1Gi"}},
                },
                **predictor,
            }
        },
    }


def custom(mode: str = "Standard", **container: Any) -> Document:
    """An InferenceService with a container of its own in place of a model."""
    document = service(mode)
    predictor = document["spec"]["predictor"]
    del predictor["model"]
    predictor["containers"] = [{"name": "kserve-container", "image": "example.com/fraud:3", **container}]
    return document


def canary(**changes: Any) -> Document:
    """A Standard InferenceService with a canary of 20 %."""
    document = service(name="v3")
    entry: Document = {
        "trafficPercent": 20,
        "predictor": {
            "name": "v4",
            # Forbidden in the stable predictor, required here: KServe's CRD takes it back for that one only.
            "model": {"name": "kserve-container", "modelFormat": {"name": "mlflow"}, "storageUri": "models:/fraud/4"},
        },
    }
    entry["predictor"] |= changes
    document["spec"]["canary"] = [entry]
    return document


def runtime(name: str = "mlflow-kserve", kind: str = "ClusterServingRuntime", priority: int = 2) -> Document:
    """A runtime for MLflow models."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, **({} if kind.startswith("Cluster") else {"namespace": "models"})},
        "spec": {
            "supportedModelFormats": [
                {"name": "mlflow", "version": version, "autoSelect": True, "priority": priority}
                for version in ("1", "2", "3")
            ],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [
                {
                    "name": "kserve-container",
                    "image": "example.com/mlflow-kserve:1",
                    "args": ["--model_name={{.Name}}", "--model_dir=/mnt/models"],
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                }
            ],
        },
    }


def storage_container() -> Document:
    """What fetches MLflow models."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": "mlflow"},
        "spec": {
            "container": {
                "name": "storage-initializer",
                "image": "example.com/mlflow-kserve:1",
                "envFrom": [{"secretRef": {"name": "mlflow"}}],
            },
            "supportedUriFormats": [{"prefix": "models:/"}, {"prefix": "runs:/"}],
            "workloadType": "initContainer",
        },
    }
