"""Rollouts under load, by the commands that people use: no request fails, and each model gets its share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.live import LiveCluster
from tests.cluster.rollouts import Rollout, rollout_of
from tests.cluster.serves import CRASHES, MISSING, PATIENT, spec_of, tracking_secret


@pytest.fixture
def rollout(with_pods: LiveCluster, versions: str, tmp_path: Path) -> Iterator[Rollout]:
    """Version 1 on a pod, called over V1, V2 and gRPC. There may be two cores, and a promotion has three pods."""
    with with_pods.namespace("rollout", tracking_secret(with_pods)) as namespace:
        spec = spec_of(with_pods, namespace, f"models:/{versions}/1", replicas={"min": 1, "max": 2}, args=PATIENT)
        with rollout_of(with_pods, spec, versions, tmp_path) as made:
            yield made


def test_a_canary_is_promoted_and_the_promotion_is_taken_back(rollout: Rollout) -> None:
    rollout.run(*rollout.canary(2, 10))
    rollout.gives({1: 90, 2: 10})
    rollout.run("canary", "--percent", "50")
    rollout.gives({1: 50, 2: 50})
    rollout.run("promote")
    rollout.gives({2: 100}, of=500)
    rollout.run("undo")
    rollout.gives({1: 100}, of=500)


def test_a_canary_is_rolled_back_then_promoted_and_another_follows(rollout: Rollout) -> None:
    rollout.run(*rollout.canary(2, 30))
    rollout.gives({1: 70, 2: 30})
    rollout.run("rollback")
    rollout.gives({1: 100}, of=500)
    rollout.run("promote")
    rollout.gives({2: 100}, of=500)
    rollout.run(*rollout.canary(3, 50))
    rollout.gives({2: 50, 3: 50})
    rollout.run("undo")
    rollout.gives({2: 100}, of=500)


def test_what_is_done_twice_is_done_once(rollout: Rollout) -> None:
    """The second time the command may say that there is nothing to do; the traffic goes on as it is."""
    for command, shares in (
        (rollout.canary(2, 50), {1: 50.0, 2: 50.0}),
        (("rollback",), {1: 100.0}),
        (("promote",), {2: 100.0}),
        (("undo",), {1: 100.0}),
    ):
        rollout.run(*command)
        rollout.attempt(*command)
        rollout.gives(shares)


def test_what_is_interrupted_goes_on(rollout: Rollout) -> None:
    """At the hand-over of the route, in the middle of a promotion, and at its end."""
    rollout.interrupt(2, *rollout.canary(2, 50))
    rollout.gives({1: 50, 2: 50})
    rollout.interrupt(3, "promote")
    rollout.gives({2: 100}, of=500)
    rollout.interrupt(4, *rollout.canary(3, 50))
    rollout.gives({2: 50, 3: 50})
    rollout.interrupt(1, "undo")
    rollout.gives({2: 100}, of=500)


@pytest.mark.parametrize("version", [MISSING, CRASHES], ids=["not there", "crashes"])
def test_a_canary_that_never_gets_ready_gets_nothing(rollout: Rollout, version: int) -> None:
    """The command says so, everybody goes on with the old version, and it is not promoted by mistake."""
    status, said = rollout.attempt(*rollout.canary(version, 50), "--wait", "30")
    assert status != 0
    assert rollout.model(version) in said
    rollout.gives({1: 100}, of=500)
    spec = yaml.safe_load(rollout.file.read_text())
    rollout.file.write_text(yaml.safe_dump({**spec, "canary": {"model": rollout.model(version), "percent": 50}}))
    status, said = rollout.attempt("promote")
    assert status != 0
    assert rollout.model(version) in said
    rollout.gives({1: 100}, of=500)
    rollout.run("undo")
    rollout.gives({1: 100}, of=500)
