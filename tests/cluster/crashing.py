"""A control plane of a cluster that may be ended at a failpoint: `python -m tests.cluster.crashing DATA NAMESPACE`."""

from __future__ import annotations

import sys
from pathlib import Path

from controlplane.backends.kserve.api import KubernetesApi
from controlplane.backends.kserve.backend import KServeBackend
from controlplane.domain.environments import EnvironmentConfig
from tests.cluster.stand_in import NOWHERE
from tests.controlplane.crashing import deploy_and_undeploy
from tests.controlplane.live_plane import LivePlane

ENV, SERVE = "prod", "fraud"


def environment(namespace: str) -> EnvironmentConfig:
    """An environment whose pods are small, and run nowhere."""
    return EnvironmentConfig(
        backend="kserve", namespace=namespace, domain_suffix=".example.com", tracking_uri="http://mlflow.mlflow:5000",
        spec={"placement": NOWHERE, "resources": {"cores": "10m", "memory": "64Mi"}},
    )  # fmt: skip


def cluster_plane(data: Path, api: KubernetesApi, namespace: str) -> LivePlane:
    backend = KServeBackend(api, namespace)
    return LivePlane(f"sqlite:///{data / 'plane.db'}", backend, ENV, environment(namespace))


if __name__ == "__main__":
    deploy_and_undeploy(cluster_plane(Path(sys.argv[1]), KubernetesApi(""), sys.argv[2]), SERVE)
