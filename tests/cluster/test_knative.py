"""Rollouts in Knative mode under load. Only on a cluster with Knative Serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.live import LiveCluster
from tests.cluster.rollouts import Rollout, rollout_of
from tests.cluster.serves import PATIENT, spec_of, tracking_secret

PROTOCOLS = ("v1", "v2")
"""A Knative Service has one port."""
RATE = 50
"""Each request passes the queue-proxy, which wants a core as well."""


@pytest.fixture
def rollout(with_pods: LiveCluster, versions: str, tmp_path: Path) -> Iterator[Rollout]:
    if not with_pods.attempt("get", "deployment", "activator", "--namespace", "knative-serving").stdout:
        pytest.skip("the cluster has no Knative Serving")
    with with_pods.namespace("knative", tracking_secret(with_pods)) as namespace:
        spec = spec_of(
            with_pods, namespace, f"models:/{versions}/1", mode="Knative", replicas={"min": 1, "max": 2},
            scaling={"concurrency": 50}, args=PATIENT,
        )  # fmt: skip
        with rollout_of(with_pods, spec, versions, tmp_path, PROTOCOLS, RATE) as made:
            yield made


def test_a_canary_is_rolled_back_and_another_is_promoted(rollout: Rollout) -> None:
    rollout.run(*rollout.canary(2, 10))
    rollout.gives({1: 90, 2: 10})
    rollout.run("rollback")
    rollout.gives({1: 100}, of=500)
    rollout.run("undo")
    rollout.gives({1: 100}, of=500)
    rollout.run(*rollout.canary(3, 50))
    rollout.gives({1: 50, 3: 50})
    rollout.run("promote")
    rollout.gives({3: 100}, of=500)
