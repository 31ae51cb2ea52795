"""Rollouts by steps that the control plane carries out, on a real API server with KServe's manager and webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from controlplane.backends.kserve.api import KubernetesApi
from controlplane.backends.kserve.manifests import SERVE
from generator.rollout import takeover
from tests.cluster.crashing import ENV, cluster_plane
from tests.cluster.live import LiveCluster
from tests.cluster.stand_in import StandIn
from tests.cluster.watching import TrafficWatch
from tests.controlplane.contract import BETTER, BROKEN, GOOD
from tests.controlplane.live_plane import LivePlane
from tests.serving import wait_for

PODS = 2
ROUTE = "fraud-route"
QUICK: dict[str, Any] = {"interval": 0.2, "skip_analysis": True}


@pytest.fixture
def namespace(cluster: LiveCluster) -> Iterator[str]:
    with cluster.namespace("steps") as name:
        yield name


@pytest.fixture
def stand_in(api: KubernetesApi, namespace: str) -> Iterator[StandIn]:
    with StandIn(api, namespace) as running, patch.object(takeover, "SETTLE_SECONDS", 0.3):
        yield running


@pytest.fixture
def live(
    api: KubernetesApi, cluster: LiveCluster, namespace: str, stand_in: StandIn, tmp_path: Path
) -> Iterator[LivePlane]:
    """A control plane with version 1 on two pods, whose traffic is watched until the end."""
    plane = cluster_plane(tmp_path, api, namespace)
    assert plane.deploy("fraud", GOOD, min_replicas=PODS, max_replicas=4)["state"] == "SUCCEEDED"
    workload = ("deployment", "fraud-predictor", namespace)
    wait_for(lambda: cluster.get(*workload)["status"].get("readyReplicas") == PODS, seconds=60)  # by its autoscaler
    with TrafficWatch(api, namespace, "fraud", PODS) as watch:
        yield plane
    failures = watch.failures()
    assert not failures, "\n".join(failures)
    assert len(watch.events) > 50
    plane.store.close()


def begin(live: LivePlane, uri: str, strategy: str = "canary", **config: Any) -> Any:
    body = {
        "serve_name": "fraud", "model_uri": uri, "env": ENV, "flavor": "sklearn",
        "deployment_strategy": strategy, "deployment_strategy_config": config,
    }  # fmt: skip
    return live.send("POST", "/serve/deploy-model", body)


def rollout(live: LivePlane) -> Any:
    return live.get(f"/serve/fraud/rollout/{ENV}")


def verb(live: LivePlane, name: str, status: int = 200) -> Any:
    return live.send("POST", f"/serve/fraud/rollout/{ENV}/{name}", None, status)


def weights(cluster: LiveCluster, namespace: str) -> dict[str, int]:
    rules = cluster.get("httproute", ROUTE, namespace)["spec"]["rules"]
    return {each["name"]: each["weight"] for each in rules[-1]["backendRefs"]}


def set_weights(cluster: LiveCluster, namespace: str, *shares: int) -> None:
    """What a person does with kubectl edit."""
    rules = cluster.get("httproute", ROUTE, namespace)["spec"]["rules"]
    for rule in rules:
        for backend, share in zip(rule["backendRefs"], shares, strict=True):
            backend["weight"] = share
    change = json.dumps({"spec": {"rules": rules}})
    words = ("--type=merge", "--field-manager=kubectl-edit", f"--patch={change}")
    cluster.kubectl("patch", "httproute", ROUTE, "--namespace", namespace, *words)


def is_alone(live: LivePlane, cluster: LiveCluster, namespace: str, revision: int) -> None:
    """Nothing of the rollout is left: the serve is of one revision, and KServe's routes lead to it."""
    live.settle("fraud")
    status = live.status("fraud")
    assert (status["status"], status["revision"], status["conflicts"]) == ("READY", revision, [])
    (service,) = cluster.listed("inferenceservice", namespace, f"{SERVE}=fraud")
    assert service["metadata"]["name"] == "fraud"
    assert {each["metadata"]["name"] for each in cluster.listed("httproute", namespace)} == {"fraud", "fraud-predictor"}
    words = ("inferenceservice", "fraud", "--namespace", namespace, "--show-managed-fields", "--output=yaml")
    assert "mlflow-kserve-rollout" not in cluster.kubectl("get", *words)


def test_a_canary_is_promoted_and_a_bad_one_changes_nothing(
    live: LivePlane, cluster: LiveCluster, namespace: str
) -> None:
    operation = live.settled("fraud", begin(live, BETTER, steps=[10, 50], **QUICK))
    assert operation["state"] == "SUCCEEDED"
    assert [(each["weight"], each["state"]) for each in rollout(live)["steps"]] == [(10, "PASSED"), (50, "PASSED")]
    is_alone(live, cluster, namespace, 2)
    failed = live.settled("fraud", begin(live, BROKEN, steps=[10], **QUICK))
    assert failed["state"] == "FAILED"
    assert "the model is broken" in failed["message"]
    is_alone(live, cluster, namespace, 2)


def test_what_differs_beyond_the_model_is_rolled_out_too(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    begin(live, GOOD, steps=[50], **QUICK)
    live.settle("fraud")
    change = live.send("PATCH", f"/serve/fraud/infra-config/{ENV}", {"min_replicas": 3})
    assert live.settled("fraud", change["deployment"])["state"] == "SUCCEEDED"
    assert cluster.get("inferenceservice", "fraud", namespace)["spec"]["predictor"]["minReplicas"] == 3
    is_alone(live, cluster, namespace, 3)


def test_weights_that_a_person_sets_pause_the_rollout(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    reply = begin(live, BETTER, steps=[10, 50], interval="1h", skip_analysis=True)
    live.act_until("fraud", lambda: rollout(live)["steps"][0]["state"] == "RUNNING")
    set_weights(cluster, namespace, 70, 30)
    live.act_until("fraud", lambda: rollout(live)["state"] == "PAUSED")
    reason = rollout(live)["pause_reason"]
    assert reason.startswith(f"kubectl-edit has changed HTTPRoute {ROUTE} at ")
    assert reason.endswith("the new revision gets 30 %")
    live.reconciler.reconcile(live.key("fraud"))
    assert weights(cluster, namespace) == {"fraud-predictor": 70, "fraud-next-predictor": 30}
    verb(live, "resume")
    live.act_until("fraud", lambda: weights(cluster, namespace)["fraud-predictor"] == 90)
    assert rollout(live)["state"] == "RUNNING"
    verb(live, "abort")
    is_alone(live, cluster, namespace, 1)
    assert live.get(f"/operation/{reply['operation']['id']}")["state"] == "ABORTED"


def test_blue_and_green_can_be_undone_at_once(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    begin(live, BETTER, "blue-green", interval=0, keep="1h")
    live.act_until("fraud", lambda: not live.under_way("fraud"))
    assert weights(cluster, namespace) == {"fraud-predictor": 0, "fraud-next-predictor": 100}
    assert {pod["revision"] for pod in live.status("fraud")["pods"]} == {1, 2}
    undone = live.settled("fraud", verb(live, "undo", 202))
    assert undone["state"] == "SUCCEEDED"
    is_alone(live, cluster, namespace, 1)
