"""Rollouts by steps in a simulated cluster: whatever happens in between, callers get answers, and it ends as it should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.backends.kserve.backend import KServeBackend
from controlplane.backends.kserve.fields import ROLLOUT
from controlplane.backends.kserve.kinds import CONFIG_MAP, HTTP_ROUTE, INFERENCE_SERVICE
from controlplane.domain.environments import EnvironmentConfig
from generator.rollout import takeover
from tests.controlplane.backends.kserve.simulated_api import ControlPlaneKilled, SimulatedApi, routes
from tests.controlplane.contract import BETTER, BROKEN, GOOD
from tests.controlplane.live_plane import LivePlane

ENV, NAMESPACE = "prod", "ml"
QUICK: dict[str, Any] = {"interval": 0, "skip_analysis": True}
TURNS = 2000


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "SETTLE_SECONDS", 0.0)


class SimulatedPlane(LivePlane):
    """Its cluster goes on with each look of the loops."""

    def __init__(self, folder: Path, api: SimulatedApi) -> None:
        self.api = api
        config = EnvironmentConfig(
            backend="kserve", namespace=NAMESPACE, domain_suffix=".example.com", tracking_uri="http://mlflow:5000"
        )
        super().__init__(f"sqlite:///{folder / 'plane.db'}", KServeBackend(api, NAMESPACE), ENV, config)

    def until(self, condition: Callable[[], bool]) -> None:
        """Lets the loops act, and the cluster; a control plane that is killed is followed by another one."""
        for _ in range(TURNS):
            try:
                if condition():
                    return
                self.reconciler.reconcile(self.key("fraud"))
            except ControlPlaneKilled:
                self.restart()
            for _ in range(self.api.cluster.chance.randrange(4)):
                self.api.cluster.pause()
        raise AssertionError(self.backend.observe(self.key("fraud")))

    def restart(self) -> None:
        """Another control plane, that knows what the store and the cluster say and nothing else."""
        self.api.changes_left = None
        self.backend = KServeBackend(self.api, NAMESPACE)
        self.reconciler = type(self.reconciler)(self.store, lambda config: self.backend, self.lease)

    def is_over(self) -> bool:
        return not self.under_way("fraud") and self.reconciler.reconcile(self.key("fraud")) is None

    def begin(self, uri: str, strategy: str = "canary", **config: Any) -> Any:
        body = {
            "serve_name": "fraud", "model_uri": uri, "env": ENV, "flavor": "sklearn", "min_replicas": 2,
            "max_replicas": 4, "deployment_strategy": strategy, "deployment_strategy_config": config,
        }  # fmt: skip
        return self.send("POST", "/serve/deploy-model", body)

    def outcome(self, reply: Any) -> Any:
        self.until(self.is_over)
        return self.get(f"/operation/{reply['operation']['id']}")

    def rollout(self) -> Any:
        return self.get(f"/serve/fraud/rollout/{ENV}")

    def verb(self, name: str, status: int = 200) -> Any:
        return self.send("POST", f"/serve/fraud/rollout/{ENV}/{name}", None, status)

    def is_alone(self, revision: int) -> None:
        """Nothing of the rollout is left."""
        self.api.cluster.settle()
        self.until(self.is_over)
        status = self.status("fraud")
        assert (status["status"], status["revision"]) == ("READY", revision)
        (service,) = self.api.all_of(INFERENCE_SERVICE)
        assert service["metadata"]["name"] == "fraud"
        assert ROLLOUT not in str(service["metadata"]["managedFields"])
        assert routes(self.api) == ["fraud", "fraud-predictor"]
        assert len(self.api.all_of(CONFIG_MAP)) == 1


def plane(folder: Path, seed: int) -> SimulatedPlane:
    """A control plane with version 1 on two pods."""
    made = SimulatedPlane(folder, SimulatedApi(seed, NAMESPACE, frozenset({BROKEN})))
    assert made.outcome(made.begin(GOOD, "rolling"))["state"] == "SUCCEEDED"
    made.api.cluster.settle()
    return made


def test_a_canary_becomes_the_serve(tmp_path: Path) -> None:
    live = plane(tmp_path, 0)
    reply = live.begin(BETTER, steps=[10, 50], **QUICK)
    assert live.outcome(reply)["state"] == "SUCCEEDED"
    assert [(each["weight"], each["state"]) for each in live.rollout()["steps"]] == [(10, "PASSED"), (50, "PASSED")]
    live.is_alone(2)
    assert live.api.cluster.models() == {BETTER: 100}


@pytest.mark.parametrize("killed", [2, 9, 15])
def test_it_goes_on_where_it_was_killed(tmp_path: Path, killed: int) -> None:
    """Before, or after, each change that it makes to the cluster."""
    live = plane(tmp_path, killed)
    reply = live.begin(BETTER, steps=[50], **QUICK)
    live.api.changes_left = killed
    assert live.outcome(reply)["state"] == "SUCCEEDED"
    live.is_alone(2)


def test_an_abort_goes_back_from_any_step(tmp_path: Path) -> None:
    live = plane(tmp_path, 1)
    for weight in (10, 60):
        reply = live.begin(BETTER, steps=[weight], interval="1h", skip_analysis=True)
        live.until(lambda: live.rollout()["steps"][0]["state"] == "RUNNING")
        assert live.api.cluster.models() == {GOOD: 100 - weight, BETTER: weight}
        live.verb("abort")
        assert live.outcome(reply)["state"] == "ABORTED"
        live.is_alone(1)


def test_blue_and_green_share_nothing_and_can_be_undone(tmp_path: Path) -> None:
    live = plane(tmp_path, 2)
    live.begin(BETTER, "blue-green", interval=0, keep="1h")
    live.until(lambda: not live.under_way("fraud"))
    assert live.api.cluster.models() == {BETTER: 100}
    assert live.outcome(live.verb("undo", 202))["state"] == "SUCCEEDED"
    live.is_alone(1)


def test_weights_that_a_person_sets_pause_the_rollout(tmp_path: Path) -> None:
    live = plane(tmp_path, 3)
    live.begin(BETTER, steps=[20], interval="1h", skip_analysis=True)
    live.until(lambda: live.rollout()["steps"][0]["state"] == "RUNNING")
    rules = live.api.get(HTTP_ROUTE, NAMESPACE, "fraud-route")["spec"]["rules"]  # type: ignore[index]
    for rule in rules:
        for backend, weight in zip(rule["backendRefs"], (70, 30), strict=True):
            backend["weight"] = weight
    live.api.patch(HTTP_ROUTE, NAMESPACE, "fraud-route", {"spec": {"rules": rules}}, "kubectl-edit")
    live.until(lambda: live.rollout()["state"] == "PAUSED")
    assert live.rollout()["pause_reason"] == (
        "kubectl-edit has changed HTTPRoute fraud-route at 2027-01-15T08:00:00Z, so that the new revision gets 30 %"
    )
    live.until(lambda: live.api.cluster.models() == {GOOD: 70, BETTER: 30})
    live.reconciler.reconcile(live.key("fraud"))
    assert live.api.cluster.models() == {GOOD: 70, BETTER: 30}
    live.verb("resume")
    live.until(lambda: live.api.cluster.models() == {GOOD: 80, BETTER: 20})
    assert live.rollout()["state"] == "RUNNING"


def test_a_version_that_never_starts_gets_nothing(tmp_path: Path) -> None:
    live = plane(tmp_path, 4)
    reply = live.begin(BROKEN, steps=[20], **QUICK)
    for _ in range(20):
        live.reconciler.reconcile(live.key("fraud"))
        live.api.cluster.pause()
        assert live.api.cluster.models() == {GOOD: 100}
    live.send("POST", f"/operation/{reply['operation']['id']}/abort", status=200)
    live.is_alone(1)


def test_what_is_wanted_next_does_not_wait_for_a_revision_that_is_kept(tmp_path: Path) -> None:
    live = plane(tmp_path, 5)
    live.begin(BETTER, "blue-green", interval=0, keep="1h")
    live.until(lambda: not live.under_way("fraud"))
    reply = live.begin(GOOD, steps=[50], **QUICK)
    assert live.outcome(reply)["state"] == "SUCCEEDED"
    live.is_alone(3)


def test_an_undeployed_serve_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = plane(tmp_path, 6)
    live.begin(BETTER, "blue-green", interval=0, keep="1h")
    live.until(lambda: not live.under_way("fraud"))
    live.send("POST", f"/serve/fraud/undeploy/{ENV}")
    monkeypatch.setattr(live.api.cluster, "check", lambda: None)  # nobody is to be answered any more
    live.until(live.is_over)
    assert live.api.all_of(INFERENCE_SERVICE) == live.api.all_of(CONFIG_MAP) == []


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"mode": "Knative"}, "its steps need mode Standard"),
        ({"spec": {"exposure": {"visibility": "cluster-local"}}}, "callers inside the cluster go to the Service"),
    ],
)
def test_what_cannot_be_split_is_refused_at_once(tmp_path: Path, environment: Any, reason: str) -> None:
    live = SimulatedPlane(tmp_path, SimulatedApi(0, NAMESPACE))
    live.send("PATCH", f"/environment/{ENV}", environment, 200)
    body = {"serve_name": "fraud", "model_uri": GOOD, "env": ENV, "flavor": "sklearn", "deployment_strategy": "canary"}
    refused = live.send("POST", "/serve/deploy-model", body, 422)
    assert reason in refused["errors"][0]["reason"]
