"""A serve as a cluster has it: what was applied, and what KServe and Kubernetes made of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from controlplane.backends.backend import Key
from controlplane.backends.kserve.kinds import Resource
from controlplane.backends.kserve.manifests import manifests, revision_labels
from controlplane.backends.kserve.state import LiveServe
from controlplane.domain.deployments import DeploymentConfig
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.revisions import Content

KEY = Key("prod", "fraud")
NAMESPACE = "ml"
TIME = "2027-01-15T08:00:00Z"


def content(uri: str = "models:/fraud/1", infra: Mapping[str, Any] | None = None, **environment: Any) -> Content:
    config = EnvironmentConfig(**{"backend": "kserve", "namespace": NAMESPACE, **environment})
    return Content(
        artifact_version="v1", model_uri=uri, infra=dict(infra or {}), deployment=DeploymentConfig(),
        environment=config, flavor="sklearn",
    )  # fmt: skip


def applied(resource: Resource, **others: Mapping[str, Any]) -> Resource:
    """A resource as it is stored after server-side apply; `others` are the fields of other managers."""
    live = copy.deepcopy(resource)
    ours = {"manager": "mlflow-kserve", "operation": "Apply", "fieldsV1": fields_of(spec_only(resource))}
    theirs = [
        {"manager": name.replace("_", "-"), "operation": "Update", "fieldsV1": fields}
        for name, fields in others.items()
    ]
    live["metadata"] |= {"uid": "1", "generation": 1, "creationTimestamp": TIME, "managedFields": [ours, *theirs]}
    return live


def spec_only(resource: Resource) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key not in ("apiVersion", "kind", "metadata")}


def fields_of(value: Any) -> dict[str, Any]:
    """`fieldsV1` as an API server writes it for maps and for lists of things with names."""
    if isinstance(value, Mapping):
        return {f"f:{key}": fields_of(below) for key, below in value.items()}
    if isinstance(value, list) and value and all(isinstance(each, Mapping) and "name" in each for each in value):
        return {f"k:{json.dumps({'name': each['name']})}": {".": {}, **fields_of(each)} for each in value}
    return {}


def condition(kind: str, status: str = "True", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "message": message, "lastTransitionTime": TIME}


def service_of(objects: list[Resource]) -> Resource:
    return next(each for each in objects if each["kind"] == "InferenceService")


def deployment(service: Resource, replicas: int = 1, updated: int = 1, available: int = 1, wanted: int = 1) -> Resource:
    """KServe's Deployment; `available` counts pods of any revision."""
    counts = {
        "replicas": replicas,
        "updatedReplicas": updated,
        "availableReplicas": available,
        "readyReplicas": available,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "fraud-predictor", "generation": 3},
        "spec": {"replicas": wanted, "template": {"metadata": {"labels": revision_labels(service)}}},
        "status": {"observedGeneration": 3, **counts},
    }


def pod(revision: int, ready: bool = True, restarts: int = 0, **state: Any) -> Resource:
    status = {"name": "kserve-container", "restartCount": restarts, "state": state}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"fraud-{revision}", "labels": {"mlflow-kserve/revision": str(revision)}},
        "spec": {},
        "status": {
            "phase": "Running",
            "conditions": [condition("Ready", "True" if ready else "False")],
            "containerStatuses": [status],
        },
    }


def ready_serve(revision: int = 1, of: Content | None = None, key: Key = KEY) -> tuple[list[Resource], LiveServe]:
    """The manifests of a revision, and a cluster that serves it with one pod."""
    rendered = manifests(key, revision, of or content())
    objects = [applied(each) for each in rendered]
    service = service_of(objects)
    service["status"] = {
        "url": "http://fraud.example.com",
        "conditions": [condition("Ready"), condition("IngressReady"), condition("PredictorReady")],
    }
    return rendered, LiveServe(objects, deployment(service), [pod(revision)])
