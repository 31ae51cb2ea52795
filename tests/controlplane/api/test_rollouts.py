"""Rollouts through the API, with a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.backends.backend import Key
from tests.controlplane.plane import Plane, answered

KEY = Key("local", "fraud")
OLD, NEW = "models:/fraud/1", "models:/fraud/2"
CANARY: dict[str, Any] = {
    "deployment_strategy": "canary",
    "deployment_strategy_config": {"steps": [5, 50, 100], "interval": "1m"},
}


def weights(plane: Plane) -> dict[int, int]:
    return plane.backend.weights[KEY]


def begin(plane: Plane, uri: str = NEW, **strategy: Any) -> Any:
    """A deployment beside one that serves, as far as the loops carry it now."""
    if not plane.backend.weights.get(KEY):
        plane.deploy(uri=OLD)
    body = {"serve_name": "fraud", "model_uri": uri, "env": "local", **(strategy or CANARY)}
    reply = plane.post("/serve/deploy-model", body)
    plane.step()
    return reply


def verb(plane: Plane, name: str, status: int = 200, body: Any = None) -> Any:
    reply = plane.post(f"/serve/fraud/rollout/local/{name}", body, status)
    plane.step()
    return reply


def rollout(plane: Plane) -> Any:
    return plane.get("/serve/fraud/rollout/local")


def after(plane: Plane, seconds: float) -> dict[int, int]:
    plane.clock.time += seconds
    plane.step()
    return weights(plane)


def test_a_canary_gets_the_requests_step_by_step(plane: Plane) -> None:
    reply = begin(plane)
    assert weights(plane) == {1: 95, 2: 5}
    shown = rollout(plane)
    assert (shown["state"], shown["strategy"], shown["revision"], shown["baseline"]) == ("RUNNING", "canary", 2, 1)
    assert [(each["weight"], each["state"]) for each in shown["steps"]] == [(5, "RUNNING"), (50, "PENDING")]
    status = plane.status()
    assert (status["revision"], status["active_revision"]) == (1, 1)
    assert [(pod["revision"], pod["weight"]) for pod in status["pods"]] == [(1, 95), (2, 5)]
    assert after(plane, 59) == {1: 95, 2: 5}
    assert after(plane, 1) == {1: 50, 2: 50}
    assert rollout(plane)["step"] == 2
    assert after(plane, 60) == {2: 100}
    assert rollout(plane)["state"] == "SUCCEEDED"
    assert [each["state"] for each in rollout(plane)["steps"]] == ["PASSED", "PASSED"]
    assert plane.operation(reply)["state"] == "SUCCEEDED"
    assert list(plane.backend.instances[KEY]) == [2]
    actions = [each["action"] for each in plane.get("/event?serve=fraud&limit=200")["items"]]
    assert actions[-6:] == [
        "deploy", "rollout.step", "rollout.passed", "rollout.step", "rollout.passed", "deploy.succeeded",
    ]  # fmt: skip


def test_the_first_revision_has_nothing_to_be_compared_with(plane: Plane) -> None:
    plane.deploy(**CANARY)
    assert plane.status()["status"] == "READY"
    answered(plane.send("GET", "/serve/fraud/rollout/local"), 404)


def test_the_strategy_stays_until_another_is_said(plane: Plane) -> None:
    begin(plane)
    plane.settle()
    plane.patch("/serve/fraud/infra-config/local", {"cores": 2}, 202)
    plane.step()
    assert weights(plane) == {2: 95, 3: 5}


def test_a_paused_rollout_waits_for_a_person(plane: Plane) -> None:
    begin(plane)
    after(plane, 30)
    paused = verb(plane, "pause")
    assert (paused["state"], paused["paused_by"], paused["deadline"]) == ("PAUSED", "anybody on this machine", None)
    assert after(plane, 86400) == {1: 95, 2: 5}
    assert verb(plane, "resume")["state"] == "RUNNING"
    assert after(plane, 29) == {1: 95, 2: 5}
    assert after(plane, 1) == {1: 50, 2: 50}


def test_a_rollout_that_is_paused_before_its_revision_is_ready_waits_too(plane: Plane) -> None:
    plane.backend.slow.add("models:/slow/1")
    begin(plane, "models:/slow/1")
    verb(plane, "pause")
    after(plane, 86400)
    assert rollout(plane)["state"] == "PAUSED"
    verb(plane, "resume")
    after(plane, 601)
    assert rollout(plane)["message"] == "revision 2 was not ready in time"
    assert weights(plane) == {1: 100}


def test_promote_passes_a_step_or_all(plane: Plane) -> None:
    begin(plane)
    verb(plane, "promote")
    assert weights(plane) == {1: 50, 2: 50}
    verb(plane, "pause")
    verb(plane, "promote", body={"full": True})
    assert weights(plane) == {2: 100}
    shown = rollout(plane)
    assert (shown["state"], [each["state"] for each in shown["steps"]]) == ("SUCCEEDED", ["SKIPPED", "SKIPPED"])


def test_abort_goes_back_and_retry_begins_again(plane: Plane) -> None:
    begin(plane)
    after(plane, 60)
    verb(plane, "abort")
    assert weights(plane) == {1: 100}
    assert list(plane.backend.instances[KEY]) == [1]
    shown = rollout(plane)
    assert (shown["state"], shown["steps"][1]["state"]) == ("ABORTED", "ABORTED")
    verb(plane, "retry", 202)
    assert weights(plane) == {1: 95, 2: 5}
    plane.settle()
    assert weights(plane) == {2: 100}
    listed = plane.get("/serve/fraud/rollouts?env=local")
    assert [each["state"] for each in listed["items"]] == ["SUCCEEDED", "ABORTED"]
    statuses = plane.get("/serve/fraud/deployments")["items"]
    assert [(each["revision"], each["status"]) for each in statuses] == [(2, "ACTIVE"), (1, "ENDED")]


def test_blue_green_keeps_the_old_one_for_an_undo(plane: Plane) -> None:
    begin(plane, deployment_strategy="blue-green", deployment_strategy_config={"interval": "10s", "keep": "5m"})
    assert weights(plane) == {1: 100}
    assert after(plane, 10) == {2: 100}
    assert list(plane.backend.instances[KEY]) == [1, 2]
    applied = len(plane.backend.calls)
    verb(plane, "undo", 202)
    assert weights(plane) == {1: 100}
    assert ("apply", KEY, 1) not in plane.backend.calls[applied:]
    assert plane.status()["active_revision"] == 1
    assert list(plane.backend.instances[KEY]) == [1]


def test_what_was_kept_goes_in_the_end(plane: Plane) -> None:
    begin(plane, deployment_strategy="blue-green", deployment_strategy_config={"keep": "5m"})
    assert list(plane.backend.instances[KEY]) == [1, 2]
    after(plane, 299)
    assert list(plane.backend.instances[KEY]) == [1, 2]
    after(plane, 1)
    assert list(plane.backend.instances[KEY]) == [2]


def test_a_revision_that_ends_during_its_rollout_is_rolled_back(plane: Plane) -> None:
    begin(plane)
    plane.backend.crash(KEY, 2)
    assert after(plane, 1) == {1: 100}
    assert rollout(plane)["state"] == "FAILED"
    assert rollout(plane)["message"].startswith("revision 2 ended during its rollout")


def test_time_does_not_pass_while_the_back_end_is_away(plane: Plane) -> None:
    begin(plane)
    after(plane, 30)
    plane.backend.away = True
    with pytest.raises(Exception, match="away"):
        plane.reconciler.reconcile(KEY)
    plane.clock.time += 3600
    plane.backend.away = False
    assert after(plane, 0) == {1: 95, 2: 5}
    assert after(plane, 29) == {1: 95, 2: 5}
    assert after(plane, 1) == {1: 50, 2: 50}


@pytest.mark.parametrize("name", ["pause", "resume", "promote", "abort", "retry", "undo"])
def test_a_verb_without_a_rollout_is_a_conflict(plane: Plane, name: str) -> None:
    answered(plane.send("POST", f"/serve/fraud/rollout/local/{name}"), 404)
    plane.deploy()
    assert answered(plane.send("POST", f"/serve/fraud/rollout/local/{name}"), 409)["way_out"]


@pytest.mark.parametrize(
    ("strategy", "config", "reason"),
    [
        ("rolling", {"interval": "1m"}, "interval is not a field of rolling: expected max_surge, max_unavailable"),
        ("canary", {"steps": [50, 5]}, "steps are [50, 5]: expected percents that rise"),
        ("canary", {"steps": [5], "step_weight": 5}, "steps are said, and step_weight or max_weight too"),
        ("canary", {"step_weight": 70}, "step_weight 70 is more than max_weight 60"),
        ("linear", {"interval": "soon"}, "is no duration: expected such as 30s, 10m or 1h"),
        ("linear", {"interval": "1h", "progress_deadline_seconds": 60}, "longer than its deadline of 60 s"),
        (None, {"keep": "1m"}, "deployment_strategy is missing"),
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(plane: Plane, strategy: str | None, config: Any, reason: str) -> None:
    said = {"deployment_strategy": strategy} if strategy else {}
    body = {"serve_name": "fraud", "model_uri": OLD, "env": "local", "deployment_strategy_config": config, **said}
    problem = plane.post("/serve/deploy-model", body, 422)
    assert problem["errors"][0]["field"].startswith("deployment_strategy_config")
    assert reason in problem["errors"][0]["reason"]
