"""Rollouts through the API, with a clock that the test moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from controlplane.backends.backend import Key, SmokeAnswer
from controlplane.loops.judging import RolloutJudge
from tests.controlplane.plane import Plane, answered

KEY = Key("local", "fraud")
OLD, NEW = "models:/fraud/1", "models:/fraud/2"
TIMED = {"steps": [5, 50, 100], "interval": "1m", "skip_analysis": True}
CANARY: dict[str, Any] = {"deployment_strategy": "canary", "deployment_strategy_config": TIMED}


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


# -- judged -----------------------------------------------------------------------------------------------------------

JUDGED: dict[str, Any] = {
    "deployment_strategy": "canary",
    "deployment_strategy_config": {"steps": [10, 50], "interval": "5m", "progress_deadline_seconds": "20m"},
}
"""Looks every 15 s."""


def with_traffic(
    plane: Plane, minutes: float, errors: int = 0, slow: int = 0, every: int = 200, alike: bool = False
) -> str:
    """15 seconds after 15 seconds in which so many percent of the new revision's requests fail or are slow; its state.

    `alike`: so do those of the old one.
    """
    for _ in range(round(minutes * 4)):
        if rollout(plane)["state"] != "RUNNING":
            break
        for revision in (1, 2):
            plane.backend.counters(KEY, revision)
        shares = plane.backend.weights[KEY]
        for revision in shares.keys() & {1, 2}:
            requests = every * shares[revision] // 10
            bad = (errors, slow) if revision == 2 or alike else (0, 0)
            plane.backend.counted[KEY, revision].add(requests, *(requests * each // 100 for each in bad))
        after(plane, 15)
    return str(rollout(plane)["state"])


def test_a_good_revision_passes_each_step(plane: Plane) -> None:
    begin(plane, **JUDGED)
    assert with_traffic(plane, 12) == "SUCCEEDED"
    assert weights(plane) == {2: 100}
    looks = plane.get("/serve/fraud/rollout/local/looks?limit=200")["items"]
    assert {each["step"] for each in looks} == {1, 2}
    assert {"window", "evidence", "verdict", "reason"} <= looks[-1].keys()
    drawn = plane.send("GET", "/serve/fraud/rollout/local/picture")
    assert (drawn.headers["content-type"], drawn.text[:4]) == ("image/svg+xml", "<svg")
    verdicts = [
        each["after"] for each in plane.get("/event?serve=fraud&limit=200")["items"] if "verdict" in each["action"]
    ]
    assert verdicts[0] == {"verdict": "inconclusive"}
    assert {"verdict": "pass"} in verdicts


def test_thirty_rollouts_of_the_same_model_succeed(plane: Plane) -> None:
    """Half a percent of errors and 8 % slow requests on both sides, as chance has it."""
    random = np.random.default_rng(20)
    config = {**JUDGED["deployment_strategy_config"], "steps": [50]}
    for _ in range(30):
        begin(plane, deployment_strategy="canary", deployment_strategy_config=config)
        while len(shares := weights(plane)) == 2:
            for revision in shares:
                requests = random.poisson(400)
                errors, slow = random.binomial(requests, [0.005, 0.08])
                plane.backend.counters(KEY, revision).add(requests, errors, slow)
            after(plane, 15)
    states = [each["state"] for each in plane.get("/serve/fraud/rollouts")["items"]]
    assert states == ["SUCCEEDED"] * 30


@pytest.mark.parametrize(("errors", "slow"), [(3, 0), (0, 50)], ids=["3 % errors", "slower"])
def test_a_bad_revision_is_rolled_back(plane: Plane, errors: int, slow: int) -> None:
    begin(plane, **JUDGED)
    begun = plane.clock.time
    assert with_traffic(plane, 20, errors, slow) == "FAILED"
    assert plane.clock.time - begun < 600
    assert weights(plane) == {1: 100}
    assert list(plane.backend.instances[KEY]) == [1]
    assert ("errors" if errors else "latency") in rollout(plane)["message"]


def test_a_revision_without_traffic_is_never_promoted(plane: Plane) -> None:
    begin(plane, **JUDGED)
    assert with_traffic(plane, 30, every=0) == "FAILED"
    assert weights(plane) == {1: 100}
    assert "step 1 (10 %) had no verdict in time" in rollout(plane)["message"]


def test_a_step_without_a_verdict_may_wait_for_a_person(plane: Plane) -> None:
    config = {**JUDGED["deployment_strategy_config"], "inconclusive": "pause"}
    begin(plane, deployment_strategy="canary", deployment_strategy_config=config)
    assert with_traffic(plane, 30, every=0) == "PAUSED"
    assert "no verdict in time" in rollout(plane)["pause_reason"]
    verb(plane, "promote")
    assert weights(plane) == {1: 50, 2: 50}


def test_the_fields_of_darwin_mean_what_they_say(plane: Plane) -> None:
    config = {
        "interval": "1m", "threshold": 2, "max_weight": 60, "step_weight": 20, "progress_deadline_seconds": 600,
        "skip_analysis": False, "metrics": [{"name": "error-rate", "threshold_max": 0.5, "interval": "1m"}],
    }  # fmt: skip
    begin(plane, deployment_strategy="canary", deployment_strategy_config=config)
    shown = rollout(plane)["steps"]
    assert [(each["weight"], each["interval"], each["progress_deadline_seconds"]) for each in shown] == [
        (20, 60, 600), (40, 60, 600), (60, 60, 600),
    ]  # fmt: skip
    assert with_traffic(plane, 10, errors=1, alike=True) == "FAILED"
    assert "error-rate: 2 of 2 checks above 0.5, the last with 1" in rollout(plane)["message"]


def test_smoke_requests_come_before_the_others(plane: Plane) -> None:
    smoke = [{"path": "/v1/models/fraud:predict", "body": {"instances": [[1]]}}]
    config = {"smoke": smoke, "keep": 0}
    begin(plane, deployment_strategy="blue-green", deployment_strategy_config=config)
    assert weights(plane) == {1: 100}
    assert rollout(plane)["message"] == "smoke /v1/models/fraud:predict: no answer"
    plane.backend.answers["/v1/models/fraud:predict"] = SmokeAnswer(500, "broken")
    after(plane, 1)
    verb(plane, "retry", 202)
    assert rollout(plane)["message"] == "smoke /v1/models/fraud:predict: status 500: broken"
    plane.backend.answers["/v1/models/fraud:predict"] = SmokeAnswer(200, "{}")
    after(plane, 1)
    verb(plane, "retry", 202)
    assert weights(plane) == {2: 100}


def test_a_new_control_plane_goes_on_with_the_evidence(plane: Plane) -> None:
    begin(plane, **JUDGED)
    with_traffic(plane, 2)
    looks = len(plane.get("/serve/fraud/rollout/local/looks")["items"])
    plane.reconciler.steps.judge = RolloutJudge()
    after(plane, 15)
    newest = plane.get(f"/serve/fraud/rollout/local/looks?after={looks - 1}")["items"][0]
    assert newest["evidence"][0]["gate"]
    assert newest["window"]["candidate"]["requests"] == 0
    assert with_traffic(plane, 20) == "SUCCEEDED"


def test_null_drops_a_gate_and_stays_dropped(plane: Plane) -> None:
    """It is kept in the revision; what cannot be dropped is refused by name."""
    said = {"steps": [50], "interval": "1m", "gates": {"latency_margin": None, "error_slo": 0.02}}
    begin(plane, deployment_strategy="canary", deployment_strategy_config=said)
    kept = plane.get("/serve/fraud/revisions/local/2")["content"]["deployment"]["deployment_strategy_config"]["gates"]
    assert kept == {"latency_margin": None, "error_slo": 0.02}
    plane.backend.counters(KEY, 1).add(900)
    plane.clock.time += 31
    plane.step()
    looks = plane.get("/serve/fraud/rollout/local/looks")["items"]
    assert "latency" not in {each["gate"] for each in looks[-1]["evidence"]}
    body = {"serve_name": "other", "model_uri": OLD, "env": "local", "deployment_strategy": "canary"}
    refused = answered(
        plane.send("POST", "/serve/deploy-model", {**body, "deployment_strategy_config": {"gates": {"alpha": None}}}),
        422,
    )
    assert "alpha is null: expected a number; error_guard and latency_margin can be null" in str(refused["errors"])


def test_metrics_of_rollouts(plane: Plane) -> None:
    begin(plane)
    after(plane, 60)
    after(plane, 60)
    text = plane.client.get("http://localhost/metrics").text
    assert 'mlflow_kserve_controlplane_rollout_steps_total{outcome="passed"} 2.0' in text
    assert 'mlflow_kserve_controlplane_rollout_step_seconds_bucket{le="60.0"} 2.0' in text
    judged = {"steps": [50], "interval": "1m"}
    begin(plane, OLD, deployment_strategy="canary", deployment_strategy_config=judged)
    text = plane.client.get("http://localhost/metrics").text
    assert 'mlflow_kserve_controlplane_looks_total{verdict="inconclusive"} 1.0' in text
