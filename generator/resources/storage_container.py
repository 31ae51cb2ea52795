"""The ClusterStorageContainer for MLflow's URIs, and the Secret with the address of MLflow."""

from __future__ import annotations

from typing import Any

from generator.resources import containers
from generator.resources.meta import MANAGED_BY, Resource
from generator.spec.pods import Security
from predictors.flavor import storage_image

TRACKING_SECRET = "mlflow-tracking"  # noqa: S105 - a name
PREFIXES = ("models:/", "runs:/", "mlflow-artifacts:/", "mlflow://")


def storage_container(registry: str, tag: str) -> Resource:
    """The storage container; KServe passes the URI and the folder as its arguments."""
    name = "mlflow-kserve"
    security = containers.restricted(Security())
    # The root file system stays writable, since a volume for temporary files cannot be declared here.
    del security["readOnlyRootFilesystem"]
    container: dict[str, Any] = {
        "name": "storage-initializer",
        "image": storage_image(registry=registry, tag=tag),
        # From the namespace of the InferenceService; optional for servers without credentials.
        "envFrom": [{"secretRef": {"name": TRACKING_SECRET, "optional": True}}],
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": security,
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name, **MANAGED_BY}},
        "spec": {
            "container": container,
            "supportedUriFormats": [{"prefix": prefix} for prefix in PREFIXES],
            "workloadType": "initContainer",
        },
    }


def tracking_secret(namespace: str) -> Resource:
    """A template; a server without a password needs the address only."""
    address = "http://mlflow.mlflow.svc:5000"
    how = (
        "Where MLflow is, and who asks. Instead of writing a password into this file: "
        f"kubectl create secret generic {TRACKING_SECRET} --namespace {namespace} "
        f"--from-literal=MLFLOW_TRACKING_URI={address} --from-literal=MLFLOW_TRACKING_USERNAME=… "
        "--from-literal=MLFLOW_TRACKING_PASSWORD=…"
    )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": TRACKING_SECRET,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": TRACKING_SECRET, **MANAGED_BY},
            "annotations": {"kubernetes.io/description": how},
        },
        "type": "Opaque",
        "stringData": {
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_TRACKING_USERNAME": "",
            "MLFLOW_TRACKING_PASSWORD": "",
        },
    }
