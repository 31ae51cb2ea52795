"""Charts on a real API server: what Helm makes is admitted, and the control plane's account may do what it does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from generator import ServeSpec, render
from tests.charts import helm
from tests.cluster.live import NO_PODS, LiveCluster, as_list
from tests.cluster.stored import changes

ROLLED_OUT: dict[str, Any] = {
    "model": "models:/fraud/3",
    "flavor": "xgboost",
    "replicas": {"min": 2, "max": 4},
    "scaling": {"cpu": 60},
    "resources": {"cores": "500m", "memory": "2Gi"},
    "env": {"SIZE": "1e6"},
    "tracking": {"uri": "http://mlflow.mlflow:5000", "namespace": "mlflow"},
    "network_policy": {"from_namespaces": ["shop", "bank"]},
}
WITH_JOBS: dict[str, Any] = {
    "model": "models:/fraud/3",
    "flavor": "sklearn",
    "storage": {"strategy": "pvc", "cache": {"create": True, "cleanup": True}},
    "replicas": {"min": 1, "max": 4},
    "scaling": {"by": "hpa", "cpu": 70, "schedule": [{"start": "0 8 * * *", "end": "0 20 * * *", "min": 3}]},
}
"""A serve that comes with Roles of its own."""


def helm_on(cluster: LiveCluster, *words: str) -> str:
    environment = {**cluster.environment, "KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run([helm.path(), *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def released(cluster: LiveCluster, chart: str, release: str, namespace: str, values: Path) -> Iterator[None]:
    place = ("--namespace", namespace)
    helm_on(cluster, "install", release, str(helm.CHARTS / chart), *place, "--values", str(values))
    try:
        yield
    finally:
        helm_on(cluster, "uninstall", release, *place)


def test_a_serve_is_kept_as_the_generator_renders_it(cluster: LiveCluster, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    values.write_text(json.dumps(ROLLED_OUT))
    with cluster.namespace("chart", NO_PODS) as namespace:
        documents = render(ServeSpec.model_validate({"name": "fraud", "namespace": namespace, **ROLLED_OUT}))
        assert {each["kind"] for each in documents} == {"InferenceService", "NetworkPolicy", "PodDisruptionBudget"}
        with released(cluster, "serve", "fraud", namespace, values):
            for document in documents:
                document["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
                stored = cluster.get(document["kind"], document["metadata"]["name"], namespace)
                assert list(changes(document, stored)) == []
        assert cluster.listed("networkpolicies", namespace) == []


def test_the_control_plane_may_do_what_it_does_and_no_more(cluster: LiveCluster, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    with (
        cluster.namespace("plane", NO_PODS) as home,
        cluster.namespace("serves", NO_PODS) as serves,
        cluster.namespace("others", NO_PODS) as others,
    ):
        values.write_text(json.dumps({"admin_tokens": {"secret": "tokens"}, "namespaces": [serves]}))
        with released(cluster, "mlflow-kserve", "plane", home, values):
            account = ("--as", f"system:serviceaccount:{home}:plane")
            applying = ("apply", "--server-side", "--field-manager=mlflow-kserve", "--filename", "-")
            spec = {"name": "fraud", "namespace": serves, **WITH_JOBS}
            documents = render(ServeSpec.model_validate(spec))
            assert "Role" in {each["kind"] for each in documents}
            cluster.kubectl(*applying, *account, given=as_list(documents))
            elsewhere = render(ServeSpec.model_validate({**spec, "namespace": others}))
            assert "forbidden" in cluster.attempt(*applying, *account, given=as_list(elsewhere)).stderr
            for refused in (("get", "secrets"), ("delete", "persistentvolumeclaims", "model-cache"), ("get", "nodes")):
                done = cluster.attempt(*refused, "--namespace", serves, *account)
                assert "forbidden" in done.stderr, refused
            cluster.kubectl("delete", "inferenceservice", "fraud", "--namespace", serves, "--wait=false", *account)
        assert [each["metadata"]["name"] for each in cluster.listed("persistentvolumeclaims", home)] == ["plane"]


def test_several_control_planes_are_admitted(cluster: LiveCluster, tmp_path: Path) -> None:
    values = tmp_path / "values.json"
    content = {
        "replicas": 2,
        "database": {"secret": "database"},
        "admin_tokens": {"secret": "tokens"},
        "network_policy": {"from_namespaces": ["ingress"]},
        "monitoring": {"enabled": True, "token": {"secret": "viewer"}},
        "secrets": ["git.token"],
    }
    values.write_text(json.dumps(content))
    if ("monitoring.coreos.com/v1", "ServiceMonitor") not in cluster.kinds:
        pytest.skip("the cluster knows no ServiceMonitor")
    with cluster.namespace("planes", NO_PODS) as home:
        documents = helm.template("mlflow-kserve", "plane", home, values)
        with released(cluster, "mlflow-kserve", "plane", home, values):
            for document in documents.values():
                stored = cluster.get(document["kind"], document["metadata"]["name"], home)
                assert list(changes(document, stored)) == []
