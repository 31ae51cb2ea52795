"""Environments of clusters, as far as no cluster is needed: what is stored, refused and rendered."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from controlplane.backends.backend import BackendAway, Key
from tests.controlplane.plane import HEALTHY, Plane

PROD: dict[str, Any] = {
    "name": "prod", "backend": "kserve", "namespace": "ml", "domain_suffix": ".example.com", "image_tag": "7",
    "tracking_uri": "http://mlflow.mlflow:5000",
}  # fmt: skip
BODY = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "prod"}


@pytest.fixture
def prod(plane: Plane) -> Plane:
    plane.post("/environment", PROD, 201)
    return plane


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"namespace": ""}, "namespace", "is missing"),
        ({"tracking_uri": "http://localhost:5000"}, "tracking_uri", "leads a pod to itself"),
        ({"domain_suffix": ".my_company"}, "domain_suffix", "small letters"),
        ({"spec": {"scaling": "70% LUCK"}}, "spec.scaling", "70% LUCK"),
        ({"mode": "Serverless"}, "mode", "Serverless"),
    ],
)
def test_what_no_serve_could_be_rendered_with(plane: Plane, fields: Any, field: str, reason: str) -> None:
    problem = plane.post("/environment", {**PROD, **fields}, 422)
    ((one,),) = ([each for each in problem["errors"] if each["field"].startswith(field)],)
    assert reason in one["reason"]
    assert plane.send("GET", "/environment/prod").status_code == 404


def test_an_environment_does_not_move_while_serves_run_there(prod: Plane) -> None:
    prod.deploy(env="prod", flavor="sklearn")
    for change in ({"namespace": "other"}, {"kube_context": "other"}, {"backend": "local"}):
        assert prod.patch("/environment/prod", change, 409)["serves"] == ["fraud"]
    prod.patch("/environment/prod", {"image_tag": "8"})
    prod.post("/serve/undeploy-model", {"serve_name": "fraud", "env": "prod"})
    prod.settle()
    prod.patch("/environment/prod", {"namespace": "other"})


def test_a_cluster_needs_to_know_the_flavor(prod: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    prod.patch("/environment/prod", {"tracking_uri": None})
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    problem = prod.post("/serve/deploy-model", BODY, 422)
    assert problem["errors"][0]["field"] == "model_uri"
    assert "no tracking server is named" in problem["errors"][0]["reason"]
    assert prod.send("GET", "/serve/fraud").status_code == 404
    prod.deploy(env="prod", flavor="sklearn")
    assert prod.get("/serve/fraud/revisions/prod/1")["content"]["flavor"] == "sklearn"
    wrong = prod.post("/serve/deploy-model", {**BODY, "flavor": "prophecy"}, 422)
    assert "sklearn" in wrong["errors"][0]["expected"]


def test_a_redeployment_and_a_rollback_keep_the_flavor(prod: Plane) -> None:
    prod.deploy(env="prod", flavor="xgboost")
    prod.patch("/serve/fraud/infra-config/prod", {"cores": 2}, 202)
    prod.settle()
    prod.post("/serve/fraud/rollback", {"env": "prod", "revision": 1})
    flavors = [each["content"]["flavor"] for each in prod.get("/serve/fraud/revisions?env=prod")["items"]]
    assert flavors == ["xgboost"] * 3


def test_what_the_rules_of_the_generator_refuse(prod: Plane) -> None:
    prod.post("/serve", {"name": "fraud"}, 201)
    problem = prod.post("/serve/fraud/infra-config/prod", {"spec": {"scaling": {"rps": 5}}}, 422)
    assert problem["errors"][0]["field"] == "spec.scaling.prometheus"


def test_an_export_is_what_the_generator_renders(prod: Plane) -> None:
    prod.deploy(env="prod", flavor="sklearn")
    prod.patch("/serve/fraud/infra-config/prod", {"min_replicas": 2, "max_replicas": 2}, 202)
    prod.settle()
    response = prod.send("GET", "/serve/fraud/export/prod")
    assert response.headers["content-type"].startswith("application/yaml")
    kinds = [each["kind"] for each in yaml.safe_load_all(response.text)]
    assert kinds == ["InferenceService", "PodDisruptionBudget"]
    first = prod.send("GET", "/serve/fraud/export/prod?revision=1").text
    assert [each["kind"] for each in yaml.safe_load_all(first)] == ["InferenceService"]
    assert prod.send("GET", "/serve/fraud/export/prod?revision=9").status_code == 404


def test_a_process_of_this_machine_has_no_manifests(plane: Plane) -> None:
    plane.deploy()
    problem = plane.send("GET", "/serve/fraud/export/local")
    assert problem.status_code == 409
    assert problem.json()["errors"][0]["field"] == "spec.flavor"


def test_there_is_nothing_to_adopt(prod: Plane) -> None:
    prod.deploy(env="prod", flavor="sklearn")
    assert "nobody else has changed" in prod.post("/serve/fraud/adopt/prod", status=409)["detail"]
    assert prod.post("/environment/prod/adopt", status=200) == {"serves": []}
    prod.post("/serve", {"name": "idle"}, 201)
    for way in ("adopt", "take-over"):
        assert "is not deployed" in prod.post(f"/serve/idle/{way}/prod", status=409)["detail"]


def test_a_spec_that_names_no_model(prod: Plane) -> None:
    problem = prod.post("/serve/apply", {"env": "prod", "spec": {"name": "fraud"}}, 422)
    assert problem["errors"] == [{"field": "spec", "reason": "model: Input should be a valid string"}]
    body = {"env": "prod", "spec": {"name": "fraud", "model": HEALTHY, "flavor": "sklearn", "namespace": "x"}}
    assert prod.post("/serve/apply", body, 422)["errors"][0]["field"] == "spec.namespace"
    assert prod.send("GET", "/serve/fraud").status_code == 404


def test_a_change_gets_the_time_that_the_back_end_was_away(plane: Plane) -> None:
    plane.deploy()
    plane.backend.away = True
    reply = plane.post("/serve/deploy-model", {"serve_name": "fraud", "model_uri": "models:/fraud/2", "env": "local"})
    for _ in range(5):
        plane.clock.time += 200
        with pytest.raises(BackendAway):
            plane.reconciler.reconcile(Key("local", "fraud"))
    assert plane.status()["status"] == "UNKNOWN"
    plane.clock.time += 200
    plane.backend.away = False
    plane.settle()
    assert plane.operation(reply)["state"] == "SUCCEEDED"


def test_what_the_back_end_refuses_fails_with_its_words(plane: Plane) -> None:
    plane.deploy()
    plane.backend.refused.add("models:/fraud/2")
    reply = plane.deploy(uri="models:/fraud/2")
    operation = plane.operation(reply)
    assert (operation["state"], operation["message"]) == ("FAILED", "revision 2 was refused: not that one")
    assert (plane.status()["status"], plane.status()["revision"]) == ("READY", 1)


def test_what_it_refuses_later_is_noted_once(plane: Plane) -> None:
    plane.deploy()
    plane.backend.refused.add(HEALTHY)
    key = plane.keys()[0]
    plane.backend.crash(key, 1)
    plane.clock.time += 10
    for _ in range(3):
        plane.step()
        plane.clock.time += 70
    events = [each["action"] for each in plane.get("/event?serve=fraud")["items"]]
    assert events.count("refused") >= 1
    assert plane.status()["last_error"] == "revision 1 cannot be applied: not that one"
    plane.backend.refused.clear()
    plane.settle()
    assert plane.status()["status"] == "READY"
