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
from tests.cluster.serves import CRASHES, MISSING, ROW, documents_of, spec_of, tracking_secret
from tests.cluster.traffic import Callers, Traffic, calling

COUNTED = 2000
"""Requests that a share is counted over: even by chance it is within three points then, and a gateway leaves less to it."""
POINTS = 3
RATE = 120
ENOUGH = 5000


@dataclass(frozen=True)
class Rollout:
    """A serve under load, and the commands of the generator on it."""

    cluster: LiveCluster
    traffic: Traffic
    file: Path
    models: str

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "generator", command, str(self.file), *arguments, "--apply", "--write"]
        environment = {**self.cluster.environment, "KUBECONFIG": str(self.cluster.kubeconfig)}
        return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)

    def attempt(self, command: str, *arguments: str) -> tuple[int, str]:
        started = self.start(command, *arguments)
        _, said = started.communicate()
        print(f"{command} {' '.join(arguments)}: {len(self.traffic.answered)} requests so far\n{said}")
        return started.returncode, said

    def run(self, command: str, *arguments: str) -> None:
        status, said = self.attempt(command, *arguments)
        assert status == 0, f"{command}: {said}\n{self.traffic.failures()[:5]}"

    def interrupt(self, step: int, command: str, *arguments: str) -> None:
        """Ends the command when it has carried out so many steps, and then runs it again."""
        started = self.start(command, *arguments)
        assert started.stderr
        for line in started.stderr:
            print(line, end="")
            if line.startswith(f"{step}/"):
                started.kill()
                break
        started.wait()
        self.run(command, *arguments, "--resume")

    def model(self, version: int) -> str:
        return f"models:/{self.models}/{version}"

    def canary(self, version: int, percent: int) -> tuple[str, ...]:
        return "canary", "--model", self.model(version), "--percent", str(percent)

    def gives(self, shares: dict[int, float], of: int = COUNTED) -> None:
        """Each version gets its share of the next requests, and none of them failed so far."""
        began = self.traffic.more(of)
        counted = self.traffic.shares(began)
        print(f"{len(self.traffic.answered)} requests, {len(self.traffic.failures())} failed, shares {counted}")
        assert self.traffic.failures() == []
        assert set(counted) == {version for version, share in shares.items() if share}
        for version, share in shares.items():
            assert abs(counted.get(version, 0) - share) <= POINTS, counted

    def has_lost_nothing(self) -> None:
        missing = ENOUGH - len(self.traffic.answered)
        if missing > 0:
            self.traffic.more(missing)
        assert self.traffic.failures() == []


@pytest.fixture
def rollout(with_pods: LiveCluster, versions: str, tmp_path: Path) -> Iterator[Rollout]:
    """Version 1 on a pod, called over V1, V2 and gRPC. There may be two cores, and a promotion has three pods."""
    assert with_pods.gateway
    with with_pods.namespace("rollout", tracking_secret(with_pods)) as namespace:
        spec = spec_of(with_pods, namespace, f"models:/{versions}/1", replicas={"min": 1, "max": 2})
        with_pods.apply(documents_of(spec))
        file = tmp_path / "serve.yaml"
        file.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True)))
        with_pods.wait_ready("fraud", namespace)
        callers = Callers(with_pods.gateway, with_pods.host("fraud", namespace), "fraud", ROW, RATE)
        with calling(callers) as traffic:
            made = Rollout(with_pods, traffic, file, versions)
            made.gives({1: 100}, of=200)
            yield made
        made.has_lost_nothing()


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
    rollout.file.write_text(
        yaml.safe_dump({**yaml.safe_load(rollout.file.read_text()), "canary": {"model": rollout.model(version)}})
    )
    status, said = rollout.attempt("promote")
    assert status != 0
    assert rollout.model(version) in said
    rollout.gives({1: 100}, of=500)
    rollout.run("undo")
    rollout.gives({1: 100}, of=500)
