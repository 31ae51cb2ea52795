"""Listing the pods of a cluster: a real HTTP server behind the official client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.peers.ports import free_port
from predictors.cleanup.pods import EVERYWHERE, Cluster, ClusterRefused
from predictors.cluster import MAX_ATTEMPTS, ClusterError
from tests.kubernetes_api import TOKEN, Api, api, kubeconfig, pod


@pytest.fixture
def cluster_api(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as running:
        yield running


@pytest.fixture
def cluster(cluster_api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return cluster_by(tmp_path / "kubeconfig", monkeypatch)


def cluster_by(file: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setattr("predictors.cluster.BACKOFF", 0)
    return Cluster()


def test_every_page_is_read(cluster_api: Api, cluster: Cluster) -> None:
    cluster_api.pods = [pod(f"p{number}") for number in range(7)]
    cluster_api.page = 3
    assert [one.name for one in cluster.live_pods("models")] == [f"p{number}" for number in range(7)]
    assert len(cluster_api.asked) == 3


def test_only_the_namespace_or_everywhere(cluster_api: Api, cluster: Cluster) -> None:
    cluster_api.pods = [pod("a", "models"), pod("b", "other")]
    assert [str(one) for one in cluster.live_pods("models")] == ["models/a"]
    assert [str(one) for one in cluster.live_pods(EVERYWHERE)] == ["models/a", "other/b"]


def test_ended_pods_are_not_listed(cluster_api: Api, cluster: Cluster) -> None:
    cluster_api.pods = [
        pod(phase, phase=phase) for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown", "")
    ]
    assert [one.name for one in cluster.live_pods("models")] == ["Pending", "Running", "Unknown", ""]


def test_texts_of_all_kinds_of_containers_and_mounts(cluster_api: Api, cluster: Cluster) -> None:
    document = pod("a", args=["--model-uri", "models:/a/1"], env=[{"name": "MODEL_URI", "value": "models:/b/2"}])
    document["metadata"]["annotations"] = {"source": "models:/c/3"}
    document["spec"]["initContainers"] = [{"name": "i", "command": ["get", "models:/d/4"]}]
    document["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/m", "subPath": "key-of-e/model"}]
    document["spec"]["volumes"] = [{"name": "v", "hostPath": {"path": "/cache/key-of-f"}}]
    cluster_api.pods = [document]
    (listed,) = cluster.live_pods("models")
    assert {
        "models:/a/1", "models:/b/2", "models:/c/3", "models:/d/4", "key-of-e/model", "/cache/key-of-f",
    } <= set(listed.text.split("\n"))  # fmt: skip


def test_fields_of_a_newer_cluster_do_no_harm(cluster_api: Api, cluster: Cluster) -> None:
    document = pod("a", newField={"deep": [1, None, True, "x"]}, resources={"limits": 5})
    document["status"]["conditions"] = "something else"
    cluster_api.pods = [document]
    assert [one.name for one in cluster.live_pods("models")] == ["a"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_api_is_retried(cluster_api: Api, cluster: Cluster, status: int) -> None:
    cluster_api.pods = [pod("a")]
    cluster_api.failures = [(status, {"Retry-After": "3600"})]
    assert [one.name for one in cluster.live_pods("models")] == ["a"]
    assert len(cluster_api.asked) == 2


def test_retries_are_limited(cluster_api: Api, cluster: Cluster) -> None:
    cluster_api.failures, cluster_api.always = [(500, {})], True
    with pytest.raises(ClusterError, match="does not list the pods in namespace models: 500 status 500 was asked for"):
        cluster.live_pods("models")
    assert len(cluster_api.asked) == MAX_ATTEMPTS


def test_an_expired_list_is_started_again(cluster_api: Api, cluster: Cluster) -> None:
    cluster_api.pods = [pod(f"p{number}") for number in range(4)]
    cluster_api.page = 2

    def expire() -> None:
        cluster_api.failures = [(410, {})] if len(cluster_api.asked) == 2 else []

    cluster_api.before_answer = expire
    assert [one.name for one in cluster.live_pods("models")] == ["p0", "p1", "p2", "p3"]
    assert len(cluster_api.asked) == 4


def test_a_missing_permission(cluster_api: Api, cluster: Cluster) -> None:
    cluster_api.readable = frozenset({"models"})
    assert cluster.live_pods("models") == []
    with pytest.raises(ClusterRefused, match='in namespace other: 403 pods is forbidden: User "cleanup" cannot list'):
        cluster.live_pods("other")
    with pytest.raises(ClusterRefused, match="in all namespaces: 403"):
        cluster.live_pods(EVERYWHERE)


def test_a_wrong_token_is_not_shown(cluster_api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = kubeconfig(tmp_path / "wrong", cluster_api.address.replace("//", "//me:hush@"), token=f"not-{TOKEN}")
    with pytest.raises(ClusterError, match="401 Unauthorized") as caught:
        cluster_by(wrong, monkeypatch).live_pods("models")
    assert TOKEN not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_an_api_that_hangs(cluster_api: Api, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictors.cleanup.pods.READ", 0.2)
    cluster_api.hang = True
    with pytest.raises(ClusterError, match="cannot be reached: Read timed out"):
        cluster.live_pods("models")
    assert len(cluster_api.asked) == MAX_ATTEMPTS


def test_no_api_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = kubeconfig(tmp_path / "nowhere", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(
        ClusterError, match=r"^the Kubernetes API at http://127\.0\.0\.1:\d+ cannot be reached: .*refused$"
    ):
        cluster_by(nowhere, monkeypatch).live_pods("models")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>proxy</html>", b"[]", b"{}", b'{"items": null, "metadata": {}}', b'{"items": [{}], "metadata": {}}'],
)
def test_an_answer_that_is_no_list_of_pods(cluster_api: Api, cluster: Cluster, body: bytes) -> None:
    cluster_api.body = body
    with pytest.raises(ClusterError, match="did not answer with a list of pods"):
        cluster.live_pods("models")


@pytest.mark.parametrize(
    "text", [None, "", "{", "kind: Config\ncurrent-context: c\n"], ids=["absent", "empty", "broken", "hollow"]
)
def test_no_usable_kubeconfig(tmp_path: Path, text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ClusterError, match="the Kubernetes API is not configured: ") as caught:
        cluster_by(file, monkeypatch).live_pods("models")
    assert "\n" not in str(caught.value)
