"""Rollouts under load, by the commands that people use: no request fails, and each model gets its share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.live import LiveCluster
from tests.cluster.serves import ROW, documents_of, spec_of, tracking_secret
from tests.cluster.traffic import Callers, Traffic, calling

COUNTED = 2500
"""Requests that a share is counted over: at 50 % a third of them are within a point, and all within three."""
POINTS = 3
RATE = 60


@dataclass(frozen=True)
class Rollout:
    """A serve under load, and the commands of the generator on it."""

    cluster: LiveCluster
    traffic: Traffic
    file: Path
    models: str

    def attempt(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "generator", command, str(self.file), *arguments, "--apply", "--write"]
        environment = {**self.cluster.environment, "KUBECONFIG": str(self.cluster.kubeconfig)}
        return subprocess.run(words, capture_output=True, text=True, env=environment)

    def run(self, command: str, *arguments: str) -> str:
        done = self.attempt(command, *arguments)
        print(f"{command} {' '.join(arguments)}: done after {len(self.traffic.answered)} requests\n{done.stderr}")
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.traffic.failures()[:5]}"
        return done.stderr

    def canary(self, version: int, percent: int, *arguments: str) -> str:
        model = f"models:/{self.models}/{version}"
        return self.run("canary", "--model", model, "--percent", str(percent), *arguments)

    def gives(self, shares: dict[int, float], of: int = COUNTED) -> None:
        """Each version gets its share of the next requests, and none of them failed so far."""
        began = self.traffic.more(of)
        counted = self.traffic.shares(began)
        assert self.traffic.failures() == []
        assert set(counted) == {version for version, share in shares.items() if share}
        for version, share in shares.items():
            assert abs(counted.get(version, 0) - share) <= POINTS, counted


@pytest.fixture
def rollout(with_pods: LiveCluster, versions: str, tmp_path: Path) -> Iterator[Rollout]:
    """Version 1 on two pods, called over V1, V2 and gRPC."""
    assert with_pods.gateway
    with with_pods.namespace("rollout", tracking_secret(with_pods)) as namespace:
        # A promotion has twice the pods, and one more: each asks for a quarter of a core, and there may be two cores.
        spec = spec_of(with_pods, namespace, f"models:/{versions}/1", replicas={"min": 2, "max": 2})
        with_pods.apply(documents_of(spec))
        file = tmp_path / "serve.yaml"
        file.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True)))
        with_pods.wait_ready("fraud", namespace)
        callers = Callers(with_pods.gateway, with_pods.host("fraud", namespace), "fraud", ROW, RATE)
        with calling(callers) as traffic:
            made = Rollout(with_pods, traffic, file, versions)
            made.gives({1: 100}, of=200)
            yield made


def test_a_canary_is_promoted(rollout: Rollout) -> None:
    rollout.canary(2, 10)
    rollout.gives({1: 90, 2: 10})
    rollout.canary(2, 50)
    rollout.gives({1: 50, 2: 50})
    rollout.run("promote")
    rollout.gives({2: 100}, of=500)
    assert len(rollout.traffic.answered) >= 5000


def test_a_canary_is_rolled_back_and_another_follows(rollout: Rollout) -> None:
    rollout.canary(2, 30)
    rollout.gives({1: 70, 2: 30})
    rollout.run("rollback")
    rollout.gives({1: 100}, of=500)
    rollout.canary(3, 50)
    rollout.gives({1: 50, 3: 50})
    rollout.run("promote")
    rollout.gives({3: 100}, of=500)
    assert len(rollout.traffic.answered) >= 5000


def test_what_is_done_twice_is_done_once(rollout: Rollout) -> None:
    for _ in range(2):
        rollout.attempt("canary", "--model", f"models:/{rollout.models}/2", "--percent", "50")
        rollout.gives({1: 50, 2: 50})
    for _ in range(2):
        rollout.attempt("promote")
        rollout.gives({2: 100}, of=500)


def test_a_canary_that_never_gets_ready_gets_nothing(rollout: Rollout) -> None:
    """Its model does not exist: the command says so, and everybody goes on with the old one."""
    done = rollout.attempt("canary", "--model", f"models:/{rollout.models}/99", "--percent", "50", "--wait", "40")
    assert done.returncode != 0
    rollout.gives({1: 100}, of=500)
    rollout.attempt("rollback")
    rollout.gives({1: 100}, of=500)
