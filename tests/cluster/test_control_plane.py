"""The control plane on a real API server with KServe's manager and webhooks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.backends.kserve.api import KubernetesApi
from controlplane.backends.kserve.kinds import APPLIED
from controlplane.backends.kserve.manifests import REVISION, SERVE
from controlplane.failpoints import VARIABLE
from controlplane.loops.loops import FULL_LOOK_INTERVAL
from tests.cluster.crashing import ENV, cluster_plane, environment
from tests.cluster.live import LiveCluster
from tests.cluster.stand_in import StandIn
from tests.controlplane.contract import BETTER, GOOD, DeploymentContract
from tests.controlplane.live_plane import LivePlane, states
from tests.controlplane.up import cleaned, up
from tests.serving import wait_for

FAILPOINTS = (
    "before_commit", "after_commit", "before_apply", "after_first_object", "after_last_object", "before_note",
    "after_note", "before_discard", "after_discard", "after_first_object:2", "after_last_object:2", "before_note:2",
)  # fmt: skip


@pytest.fixture
def namespace(cluster: LiveCluster) -> Iterator[str]:
    with cluster.namespace("control-plane") as name:
        yield name


@pytest.fixture
def stand_in(api: KubernetesApi, namespace: str) -> Iterator[StandIn]:
    with StandIn(api, namespace) as running:
        yield running


@pytest.fixture
def live(api: KubernetesApi, namespace: str, stand_in: StandIn, tmp_path: Path) -> Iterator[LivePlane]:
    plane = cluster_plane(tmp_path, api, namespace)
    yield plane
    plane.store.close()


class TestKServe(DeploymentContract):
    @pytest.fixture
    def live(self, live: LivePlane) -> LivePlane:
        return live


def service(cluster: LiveCluster, namespace: str) -> Any:
    return cluster.get("inferenceservice", "fraud", namespace)


def edit(cluster: LiveCluster, namespace: str, kind: str = "inferenceservice", **predictor: Any) -> None:
    """What a person does with kubectl edit."""
    patch = json.dumps({"spec": {"predictor": predictor} if kind == "inferenceservice" else predictor})
    words = ("--type=merge", "--field-manager=kubectl-edit", f"--patch={patch}")
    cluster.kubectl("patch", kind, "fraud", "--namespace", namespace, *words)


def look(live: LivePlane) -> Any:
    """The status after the loops have seen to the serve."""
    live.settle("fraud")
    return live.status("fraud")


def left_in(api: KubernetesApi, namespace: str) -> list[str]:
    """Objects that carry our labels."""
    kinds = api.kinds(APPLIED)
    return [each["metadata"]["name"] for kind in kinds for each in api.listed(kind, namespace, SERVE)]


def test_a_change_of_others_pauses_a_serve_until_it_is_adopted(
    live: LivePlane, cluster: LiveCluster, namespace: str
) -> None:
    live.deploy("fraud", GOOD, min_replicas=1, max_replicas=3)
    edit(cluster, namespace, minReplicas=2, timeout=77)
    status = look(live)
    assert status["status"] == "READY"
    shown = [(each["field"], each["manager"], each["theirs"], each["ours"]) for each in status["conflicts"]]
    assert sorted(shown) == [
        ("spec.predictor.minReplicas", "kubectl-edit", 2, 1), ("spec.predictor.timeout", "kubectl-edit", 77, 60),
    ]  # fmt: skip
    assert "conflict" in live.events("fraud")
    assert service(cluster, namespace)["spec"]["predictor"]["minReplicas"] == 2
    failed = live.deploy("fraud", BETTER)
    assert failed["state"] == "FAILED"
    assert "minReplicas is 2, set by kubectl-edit, and not 1" in failed["message"]
    adopted = live.settled("fraud", live.send("POST", f"/serve/fraud/adopt/{ENV}"))
    assert (adopted["state"], adopted["revision"]) == ("SUCCEEDED", 3)
    assert look(live)["conflicts"] == []
    infra = live.get(f"/serve/fraud/infra-config/{ENV}")
    assert infra["api_serve_infra_config"]["min_replicas"] == 2
    assert infra["spec"]["patch"] == {"spec": {"predictor": {"timeout": 77}}}
    assert live.deploy("fraud", BETTER)["state"] == "SUCCEEDED"
    predictor = service(cluster, namespace)["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["timeout"]) == (2, 77)
    live.send("POST", f"/serve/fraud/adopt/{ENV}", status=409)


def test_a_change_of_others_can_be_taken_over(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("fraud", GOOD, min_replicas=2, max_replicas=3)
    edit(cluster, namespace, "poddisruptionbudget", maxUnavailable=0)
    edit(cluster, namespace, minReplicas=3)
    assert {each["resource"] for each in look(live)["conflicts"]} == {
        "InferenceService fraud", "PodDisruptionBudget fraud",
    }  # fmt: skip
    refused = live.send("POST", f"/serve/fraud/adopt/{ENV}", status=409)
    assert "PodDisruptionBudget fraud: spec.maxUnavailable" in refused["detail"]
    taken = live.settled("fraud", live.send("POST", f"/serve/fraud/take-over/{ENV}"))
    assert (taken["state"], taken["revision"]) == ("SUCCEEDED", 2)
    assert look(live)["conflicts"] == []
    assert service(cluster, namespace)["spec"]["predictor"]["minReplicas"] == 2


def test_fields_of_others_stay_and_are_shown(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("fraud", GOOD)
    edit(cluster, namespace, enableServiceLinks=False)
    status = look(live)
    assert (status["conflicts"], status["others"]) == ([], {"kubectl-edit": ["spec.predictor.enableServiceLinks"]})
    assert live.deploy("fraud", BETTER)["state"] == "SUCCEEDED"
    assert service(cluster, namespace)["spec"]["predictor"]["enableServiceLinks"] is False


@pytest.mark.parametrize("kind", ["inferenceservice", "poddisruptionbudget"])
def test_what_is_deleted_by_hand_is_made_again(
    live: LivePlane, cluster: LiveCluster, namespace: str, kind: str
) -> None:
    live.deploy("fraud", GOOD, min_replicas=2, max_replicas=3)
    before = cluster.get(kind, "fraud", namespace)["metadata"]["uid"]
    cluster.kubectl("delete", kind, "fraud", "--namespace", namespace)
    live.act_until("fraud", lambda: live.status("fraud")["status"] == "READY" and "repair" in live.events("fraud"))
    assert cluster.get(kind, "fraud", namespace)["metadata"]["uid"] != before
    assert live.status("fraud")["revision"] == 1


def test_a_field_that_somebody_removes_is_set_again(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("fraud", GOOD)
    edit(cluster, namespace, timeout=None)
    live.act_until("fraud", lambda: "timeout" in service(cluster, namespace)["spec"]["predictor"])
    assert "InferenceService fraud lacks spec.predictor.timeout" in live.status("fraud")["last_error"]


def test_what_is_no_longer_rendered_goes(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    """And what KServe or somebody else made with the same labels stays."""
    live.deploy("fraud", GOOD, min_replicas=2, max_replicas=3)
    cluster.kubectl("create", "configmap", "mine", "--namespace", namespace)
    cluster.kubectl("label", "configmap", "mine", "--namespace", namespace, f"{SERVE}=fraud", f"{REVISION}=1")
    assert cluster.listed("poddisruptionbudget", namespace) != []
    change = live.send("PATCH", f"/serve/fraud/infra-config/{ENV}", {"min_replicas": 1})
    live.settled("fraud", change["deployment"])
    assert cluster.listed("poddisruptionbudget", namespace) == []
    assert cluster.get("configmap", "mine", namespace)
    assert cluster.listed("service", namespace) != []


def test_pods_stay_when_nothing_of_them_changes(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("fraud", GOOD, max_replicas=2)
    pods = [each["name"] for each in live.status("fraud")["pods"]]
    change = live.send("PATCH", f"/serve/fraud/infra-config/{ENV}", {"max_replicas": 3})
    assert live.settled("fraud", change["deployment"])["state"] == "SUCCEEDED"
    assert [(each["name"], each["revision"]) for each in live.status("fraud")["pods"]] == [(pods[0], 1)]
    assert live.deploy("fraud", BETTER)["state"] == "SUCCEEDED"
    wait_for(lambda: {each["revision"] for each in live.status("fraud")["pods"]} == {3})


def test_a_cluster_that_is_away_is_unknown_and_stops_the_clock(live: LivePlane, api: KubernetesApi) -> None:
    live.deploy("fraud", GOOD)
    host, api.host = api.host, "https://127.0.0.1:9"
    try:
        body = {"serve_name": "fraud", "model_uri": BETTER, "env": ENV, "flavor": "sklearn"}
        reply = live.send("POST", "/serve/deploy-model", body)
        deadline = reply["operation"]["deadline"]
        path = f"/operation/{reply['operation']['id']}"
        live.act_until("fraud", lambda: live.get(path)["deadline"] > deadline)
        status = live.status("fraud")
        assert (status["status"], status["pods"], live.get(path)["state"]) == ("UNKNOWN", None, "RUNNING")
    finally:
        api.host, api.away_until = host, 0.0
    assert live.settled("fraud", reply)["state"] == "SUCCEEDED"


def test_an_empty_store_is_rebuilt_from_the_cluster(
    live: LivePlane, api: KubernetesApi, namespace: str, cluster: LiveCluster, tmp_path: Path
) -> None:
    live.deploy("fraud", GOOD)
    live.deploy("fraud", BETTER, environment_variables={"MODE": "strict"})
    before = live.get(f"/serve/fraud/revisions/{ENV}/2")
    generation = service(cluster, namespace)["metadata"]["generation"]
    (tmp_path / "new").mkdir()
    other = cluster_plane(tmp_path / "new", api, namespace)
    other.reconciler.reconcile(other.key("fraud"))
    reply = other.send("POST", f"/environment/{ENV}/adopt", status=200)
    assert [(each["serve"], each["revision"], each["outcome"]) for each in reply["serves"]] == [("fraud", 2, "adopted")]
    other.settle("fraud")
    status = other.status("fraud")
    assert (status["status"], status["revision"], status["model_uri"]) == ("READY", 2, BETTER)
    after = other.get(f"/serve/fraud/revisions/{ENV}/2")
    assert (after["sha256"], after["content"]) == (before["sha256"], before["content"])
    assert service(cluster, namespace)["metadata"]["generation"] == generation
    again = other.send("POST", f"/environment/{ENV}/adopt", status=200)
    assert [each["outcome"] for each in again["serves"]] == ["known"]
    other.store.close()


def test_a_serve_of_somebody_else_is_left_alone(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("other", GOOD)
    manifests = live.get(f"/serve/other/export/{ENV}")
    cluster.kubectl("apply", "--filename", "-", given=manifests.replace("name: other", "name: fraud"))
    uid = service(cluster, namespace)["metadata"]["uid"]
    operation = live.deploy("fraud", GOOD)
    assert operation["state"] == "FAILED"
    assert "which is not of environment prod" in operation["message"]
    live.settle("fraud")
    assert service(cluster, namespace)["metadata"]["uid"] == uid


def test_what_a_webhook_refuses_fails_with_its_words(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("fraud", GOOD)
    body = {"spec": {"mode": "Knative"}}
    dry = live.send("PATCH", f"/serve/fraud/infra-config/{ENV}?dry_run=true", body, 200)
    assert dry["cluster"]["accepted"] is False
    assert "deploymentMode cannot be changed" in dry["cluster"]["refusals"][0]
    change = live.send("PATCH", f"/serve/fraud/infra-config/{ENV}", body)
    operation = live.settled("fraud", change["deployment"])
    assert (operation["state"], "deploymentMode cannot be changed" in operation["message"]) == ("FAILED", True)
    status = look(live)
    assert (status["status"], status["revision"]) == ("READY", 1)


def test_a_dry_run_says_what_would_restart(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("fraud", GOOD)
    version = service(cluster, namespace)["metadata"]["resourceVersion"]
    path = f"/serve/fraud/infra-config/{ENV}?dry_run=true"
    assert live.send("PATCH", path, {"max_replicas": 2}, 200)["cluster"] == {
        "accepted": True, "refusals": [], "restarts_pods": False,
        "changes": ["InferenceService fraud: maximum replicas: 1 → 2"],
    }  # fmt: skip
    assert live.send("PATCH", path, {"cores": 2}, 200)["cluster"]["restarts_pods"] is True
    assert service(cluster, namespace)["metadata"]["resourceVersion"] == version


def test_numbers_of_a_schedule_are_left_alone(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    window = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "min": 3}
    live.deploy("fraud", GOOD, max_replicas=4)
    change = live.send(
        "PATCH", f"/serve/fraud/infra-config/{ENV}", {"spec": {"scaling": {"by": "hpa", "schedule": [window]}}}
    )
    assert live.settled("fraud", change["deployment"])["state"] == "SUCCEEDED"
    script = "from predictors import scale; raise SystemExit(scale.main(['fraud', '--min', '3', '--namespace', %r]))"
    scaled = [sys.executable, "-c", script % namespace]
    subprocess.run(scaled, check=True, env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)})
    assert look(live)["conflicts"] == []
    assert live.deploy("fraud", BETTER)["state"] == "SUCCEEDED"
    assert service(cluster, namespace)["spec"]["predictor"]["minReplicas"] == 3
    change = live.send("PATCH", f"/serve/fraud/infra-config/{ENV}", {"spec": {"scaling": None}})
    assert live.settled("fraud", change["deployment"])["state"] == "SUCCEEDED"
    assert service(cluster, namespace)["spec"]["predictor"]["minReplicas"] == 1
    assert cluster.listed("cronjob", namespace) == []


def test_an_export_is_what_anybody_can_apply(live: LivePlane, cluster: LiveCluster, namespace: str) -> None:
    live.deploy("fraud", GOOD)
    text = live.get(f"/serve/fraud/export/{ENV}")
    documents = list(yaml.safe_load_all(text))
    assert not any(label.startswith("mlflow-kserve/") for each in documents for label in each["metadata"]["labels"])
    cluster.kubectl("apply", "--dry-run=server", "--server-side", "--filename", "-", given=text)


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_it_goes_on_where_it_was_killed(
    cluster: LiveCluster, api: KubernetesApi, namespace: str, stand_in: StandIn, tmp_path: Path, failpoint: str
) -> None:
    def run(name: str = "") -> int:
        command = [sys.executable, "-m", "tests.cluster.crashing", str(tmp_path), namespace]
        variables = {**os.environ, VARIABLE: name, "KUBECONFIG": str(cluster.kubeconfig)}
        with (tmp_path / "run.log").open("ab") as log:
            return subprocess.run(command, stdout=log, stderr=log, timeout=200, env=variables).returncode

    assert run(failpoint) == -signal.SIGKILL, (tmp_path / "run.log").read_text()
    assert run() == 0, (tmp_path / "run.log").read_text()
    plane = cluster_plane(tmp_path, api, namespace)
    assert states(plane.store) == [
        ("deploy", 1, "SUCCEEDED"), ("deploy", 2, "SUCCEEDED"), ("undeploy", None, "SUCCEEDED"),
    ]  # fmt: skip
    plane.store.close()
    wait_for(lambda: left_in(api, namespace) == [])


def test_the_command_serves_a_cluster(
    cluster: LiveCluster, api: KubernetesApi, namespace: str, stand_in: StandIn, tmp_path: Path
) -> None:
    """With its loops and its watch: what is deleted by hand is back long before the next full look."""
    config = environment(namespace).model_dump(exclude_defaults=True)
    with cleaned(tmp_path), up(tmp_path, env={"KUBECONFIG": str(cluster.kubeconfig)}) as plane:
        plane.post("/environment", {"name": ENV, **config}, 201)
        body = {"serve_name": "fraud", "model_uri": GOOD, "env": ENV, "flavor": "sklearn"}
        plane.post("/serve/deploy-model", body)
        path = f"/serve/fraud/status/{ENV}"
        assert plane.get(f"{path}?wait=120")["status"] == "READY"
        wait_for(lambda: plane.get("/event?serve=fraud")["items"])
        uid = service(cluster, namespace)["metadata"]["uid"]
        cluster.kubectl("delete", "inferenceservice", "fraud", "--namespace", namespace)
        began = time.monotonic()
        wait_for(lambda: cluster.listed("inferenceservice", namespace) != [], seconds=120)
        wait_for(lambda: plane.get(path)["status"] == "READY", seconds=120)
        assert service(cluster, namespace)["metadata"]["uid"] != uid
        assert time.monotonic() - began < FULL_LOOK_INTERVAL
        refused = plane.client.patch(f"/environment/{ENV}", json={"namespace": "elsewhere"})
        assert (refused.status_code, refused.json()["serves"]) == (409, ["fraud"])
