"""What the pods of two revisions count, as the control plane reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.backends.backend import BackendAway, FoundServe, RequestUnanswered
from controlplane.backends.kserve.api import KubernetesApi
from controlplane.backends.kserve.kinds import Resource, ResourceKind
from controlplane.backends.kserve.pods import RevisionPods
from controlplane.domain.rollouts import SmokeRequest
from monitoring.verdict import WindowReader
from tests.controlplane.backends.kserve.serves import KEY, NAMESPACE, content, pod
from tests.monitoring.verdict.metrics_pod import MetricsPod

SERVE = FoundServe(KEY, 1, content())


class ListedPods(KubernetesApi):
    """An API that has these pods."""

    def __init__(self, *pods: Resource) -> None:
        self.pods = list(pods)

    def listed(self, kind: ResourceKind, namespace: str, selector: str) -> list[Resource]:
        return self.pods


def placed(revision: int, server: MetricsPod, **options: Any) -> Resource:
    """A pod of a revision at the address of a server."""
    made = pod(revision, **options)
    made["metadata"]["name"] = f"fraud-{revision}-{server.server_port}"
    made["spec"] = {"containers": [{"name": "kserve-container", "ports": [{"containerPort": server.server_port}]}]}
    made["status"]["podIP"] = "127.0.0.1"
    return made


def test_each_arm_has_its_pods_and_those_that_come_later() -> None:
    """The baseline's may be of an earlier revision, whose pods did not need to restart."""
    servers = [MetricsPod() for _ in range(3)]
    for server in servers:
        server.count(0)
    api = ListedPods(placed(4, servers[0]), placed(6, servers[1]))
    pods = RevisionPods(api, NAMESPACE)
    reader = WindowReader(pods.counters(KEY, 5, 6, SERVE), pods.counters(KEY, 6, 6, SERVE))
    reader.read(0.0)
    api.pods.append(placed(6, servers[2]))
    for server, count in zip(servers, (90, 6, 4), strict=True):
        server.count(count)
    window = reader.read(10.0)
    assert (window.baseline.requests, window.candidate.requests) == (90, 10)
    assert (window.baseline.pods, window.candidate.pods) == (1, 2)


def test_a_prometheus_that_does_not_answer_says_nothing() -> None:
    away = replace(SERVE, content=content(prometheus_url="http://127.0.0.1:1"))
    source = RevisionPods(ListedPods(pod(6)), NAMESPACE).counters(KEY, 6, 6, away)
    with pytest.raises(BackendAway, match="127.0.0.1:1 cannot be reached"):
        source.read()


def test_a_pod_that_is_ready_is_asked() -> None:
    server = MetricsPod()
    server.count(7)
    pods = RevisionPods(ListedPods(placed(6, server, ready=False)), NAMESPACE)
    request = SmokeRequest(path="/metrics")
    with pytest.raises(RequestUnanswered, match="revision 6 has no pod that is ready"):
        pods.ask(KEY, 6, 6, request)
    pods = RevisionPods(ListedPods(placed(6, server)), NAMESPACE)
    answer = pods.ask(KEY, 6, 6, request)
    assert answer.status == 200
    assert "model_predictions_total" in answer.text
