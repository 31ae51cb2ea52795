"""Rollouts of real servers on this machine, while requests come on V1, V2 and gRPC."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from controlplane.backends.local import backend as local
from controlplane.backends.local.backend import LocalBackend
from controlplane.backends.local.ports import PortRange
from controlplane.backends.local.processes import MARK, ProcessId
from controlplane.domain.environments import EnvironmentConfig
from loadtest.peers.ports import free_port
from tests import spawner
from tests.cluster.traffic import Callers, calling
from tests.controlplane.live_plane import LivePlane
from tests.controlplane.up import cleaned
from tests.zoo.python import model, save

pytestmark = pytest.mark.slow
ROW = [1.0, 2.0]
JUDGED_SECONDS = 150


def forked(command: Sequence[str], environ: Mapping[str, str], mark: str, log: Path) -> ProcessId:
    """A server as a fork of a process that has imported what it needs."""
    with log.open("ab") as output:
        process = spawner.start(
            command[2], *command[3:], output=output, env={**environ, MARK: mark}, folder=log.parent, dependent=True
        )
    return ProcessId.of(process.pid) or ProcessId(process.pid, 0.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two that answer 1 and 2, and three that wait: as long as it should be, half as long again, and with errors."""
    folder = tmp_path_factory.mktemp("models")
    inputs = np.array([ROW, [3.0, 4.0]])
    for number in (1.0, 2.0):
        fitted = LinearRegression().fit(inputs, [number, number])
        signature = mlflow.models.infer_signature(inputs, None)
        mlflow.sklearn.save_model(fitted, folder / f"answers-{number:g}", signature=signature, pip_requirements=[])
    waits = "import random, time\ntime.sleep({seconds})\nif random.random() < {share}: raise RuntimeError('a bad row')"
    for name, seconds, share in (("steady", 0.02, 0.0), ("slower", 0.05, 0.0), ("erring", 0.02, 0.03)):
        body = waits.format(seconds=seconds, share=share) + "\nreturn model_input.sum(axis=1)"
        save(folder / name, model(body), data=inputs)
    return folder


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlane]:
    data, first = tmp_path_factory.mktemp("data"), free_port()
    with pytest.MonkeyPatch.context() as patch, cleaned(data):
        patch.setattr(local, "spawn", forked)
        backend = LocalBackend(data, PortRange(first, first + 300))
        plane = LivePlane(f"sqlite:///{data / 'controlplane.db'}", backend, "local", EnvironmentConfig())
        yield plane
        backend.stop_all()


def callers(live: LivePlane, serve: str, rate: float, *protocols: str, reconnects: bool) -> Callers:
    route = live.backend.routes.get(live.key(serve))  # type: ignore[attr-defined]  # the back end is that of this machine
    address = f"127.0.0.1:{route.grpc_port}"
    return Callers(route.url, serve, serve, ROW, rate, protocols, address, reconnects)


def begin(live: LivePlane, serve: str, uri: Path, strategy: str, **config: Any) -> Any:
    body = {
        "serve_name": serve, "model_uri": str(uri), "env": "local",
        "deployment_strategy": strategy, "deployment_strategy_config": config,
    }  # fmt: skip
    return live.send("POST", "/serve/deploy-model", body)


def rollout(live: LivePlane, serve: str) -> Any:
    return live.get(f"/serve/{serve}/rollout/local")


def test_no_request_is_lost(live: LivePlane, models: Path) -> None:
    """A hundred changes of weights, then rollouts that succeed, are aborted and undone."""
    one, two = models / "answers-1", models / "answers-2"
    assert live.deploy("safe", str(one))["state"] == "SUCCEEDED"
    key, quick = live.key("safe"), {"interval": 0.3, "skip_analysis": True}
    with (
        calling(callers(live, "safe", 60, "v1", "v2", reconnects=True)) as fresh,
        calling(callers(live, "safe", 60, "v1", "v2", "grpc", reconnects=False)) as lasting,
    ):
        begin(live, "safe", two, "canary", steps=[50], interval="1h", skip_analysis=True)
        live.act_until("safe", lambda: rollout(live, "safe")["steps"][0]["state"] == "RUNNING")
        for change in range(100):
            live.backend.split(key, {1: 100 - change, 2: change} if change else {1: 100})
            fresh.more(3)
        live.backend.split(key, {1: 75, 2: 25})
        since = fresh.more(60)
        assert 15 < fresh.shares(since)[2.0] < 35
        live.send("POST", "/serve/safe/rollout/local/abort", None, 200)
        live.settle("safe")
        for strategy, config in (("canary", {"steps": [20, 60]}), ("linear", {"step_weight": 40})):
            assert live.settled("safe", begin(live, "safe", two, strategy, **config, **quick))["state"] == "SUCCEEDED"
        smoke = [{"path": "/v1/models/safe:predict", "body": {"instances": [ROW]}}]
        begin(live, "safe", one, "blue-green", smoke=smoke, keep="1h")
        live.act_until("safe", lambda: not live.under_way("safe"))
        assert [pod["weight"] for pod in live.status("safe")["pods"]] == [0, 100]
        undone = live.settled("safe", live.send("POST", "/serve/safe/rollout/local/undo"))
        assert undone["state"] == "SUCCEEDED"
        fresh.more(60)
    print(f"{len(fresh.answered)} requests on connections of their own, {len(lasting.answered)} on lasting ones")
    assert fresh.failures() + lasting.failures() == []
    assert {answered.protocol for answered in lasting.answered} == {"v1", "v2", "grpc"}


def judged_rollout(live: LivePlane, models: Path, name: str, **gates: Any) -> tuple[Mapping[str, Any], float]:
    """The operation that rolls a model out beside the steady one, once it has ended, and how long it was judged."""
    assert live.deploy(name, str(models / "steady"))["state"] == "SUCCEEDED"
    config = {"interval": "10s", "progress_deadline_seconds": JUDGED_SECONDS, "gates": {"warm_up_seconds": 0, **gates}}
    with calling(callers(live, name, 40, "v1", reconnects=True)):
        begun = begin(live, name, models / name, "canary", steps=[50], **config)
        live.act_until(name, lambda: rollout(live, name)["steps"][0]["state"] == "RUNNING")
        began = time.monotonic()
        live.act_until(name, lambda: not live.under_way(name), JUDGED_SECONDS + 10)
    return live.get(f"/operation/{begun['operation']['id']}"), time.monotonic() - began


@pytest.mark.parametrize(("bad", "gate"), [("erring", "errors"), ("slower", "latency")])
def test_a_bad_version_is_taken_back(live: LivePlane, models: Path, bad: str, gate: str) -> None:
    operation, seconds = judged_rollout(live, models, bad)
    print(f"{bad}: {operation['message']} after {seconds:.0f} s")
    assert (operation["state"], operation["message"].partition(":")[0]) == ("FAILED", gate), operation
    live.settle(bad)
    assert live.status(bad)["revision"] == 1


def test_a_version_that_is_as_good_is_promoted(live: LivePlane, models: Path) -> None:
    """Nearly: other tests make one of two processes slower than the other."""
    operation, seconds = judged_rollout(live, models, "steady", latency_margin=4, tolerance=8)
    print(f"steady: {operation['state']} after {seconds:.0f} s")
    assert operation["state"] == "SUCCEEDED", operation
