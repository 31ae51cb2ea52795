"""A serve under load, and the commands of the generator on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from generator import ServeSpec
from tests.cluster.live import LiveCluster
from tests.cluster.serves import ROW, documents_of
from tests.cluster.traffic import PROTOCOLS, Callers, Traffic, calling

COUNTED = 2000
"""Requests that a share is counted over: even by chance it is within three points then, and a gateway leaves less to it."""
POINTS = 3
RATE = 90
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
        self.fails_nobody()
        assert set(counted) == {version for version, share in shares.items() if share}
        for version, share in shares.items():
            assert abs(counted.get(version, 0) - share) <= POINTS, counted

    def has_lost_nothing(self) -> None:
        missing = ENOUGH - len(self.traffic.answered)
        if missing > 0:
            self.traffic.more(missing)
        self.fails_nobody()

    def fails_nobody(self) -> None:
        failures = self.traffic.failures()
        assert not failures, f"{len(failures)} of {len(self.traffic.answered)} failed: {failures[:5]}"


@contextmanager
def rollout_of(
    cluster: LiveCluster,
    spec: ServeSpec,
    models: str,
    folder: Path,
    protocols: tuple[str, ...] = PROTOCOLS,
    rate: float = RATE,
) -> Iterator[Rollout]:
    """Applies a spec of version 1 and calls it, until nothing more is done with it; none of the requests may fail."""
    assert cluster.gateway
    cluster.apply(documents_of(spec))
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True)))
    cluster.wait_ready(spec.name, spec.namespace)
    callers = Callers(cluster.gateway, cluster.host(spec.name, spec.namespace), spec.name, ROW, rate, protocols)
    with calling(callers) as traffic:
        rollout = Rollout(cluster, traffic, file, models)
        rollout.gives({1: 100}, of=200)
        yield rollout
        rollout.has_lost_nothing()
