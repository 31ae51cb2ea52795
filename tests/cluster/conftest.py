"""The cluster of the tests. That of `make cluster` is started if it does not run, and is left running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest

from controlplane.backends.kserve.api import KubernetesApi
from tests.cluster.live import LiveCluster, local, yours
from tests.cluster.parts import sandbox
from tests.cluster.parts.places import ROOT
from tests.cluster.serves import register_crash, register_versions


@pytest.fixture(scope="session")
def cluster() -> LiveCluster:
    if os.environ.get("CLUSTER", "local") != "local":
        made = yours()
    else:
        if sandbox.init() is None:
            up = [sys.executable, "-m", "tests.cluster", "up", *os.environ.get("PARTS", "").split()]
            done = subprocess.run(up, cwd=ROOT, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                pytest.exit(done.stderr, returncode=1)
        made = local()
    if ("serving.kserve.io/v1beta1", "InferenceService") not in made.kinds:
        pytest.exit("the cluster has no KServe: its API knows no InferenceService", returncode=1)
    made.install_platform()
    return made


@pytest.fixture(scope="module")
def api(cluster: LiveCluster) -> Iterator[KubernetesApi]:
    """The cluster's API, as the control plane reaches it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(cluster.kubeconfig))
        yield KubernetesApi("")


@pytest.fixture(scope="session")
def with_pods(cluster: LiveCluster) -> LiveCluster:
    """A cluster whose serves can fetch models and be asked."""
    lacking = {"GATEWAY": cluster.gateway, "MLFLOW_TRACKING_URI": cluster.tracking}
    names = [name for name, value in lacking.items() if not value]
    if names:
        pytest.skip(f"serves cannot be asked: set {' and '.join(names)}")
    return cluster


@pytest.fixture(scope="session")
def versions(with_pods: LiveCluster) -> str:
    """A registered model; version N of it answers N, and the last one crashes."""
    assert with_pods.tracking
    name = f"constant-{uuid4().hex[:6]}"
    register_versions(with_pods.tracking, name)
    register_crash(with_pods.tracking, name)
    return name
