"""What the platform that this one follows got wrong, each as a test."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from controlplane.backends.backend import Key
from controlplane.store import targets
from tests.controlplane.plane import HEALTHY, Plane

TWO = "models:/fraud/2"


def test_nothing_is_started_that_the_store_does_not_know(plane: Plane) -> None:
    """Theirs wrote the cluster before the row: a crash between the two left an orphan."""

    def known(key: Key, revision: int) -> None:
        with plane.store.reading() as tx:
            assert targets.revision(tx, key.serve, key.env, revision).number == revision

    plane.backend.before_apply = known
    plane.deploy()
    assert ("apply", Key("local", "fraud"), 1) in plane.backend.calls


def test_deploy_model_never_overwrites_an_artifact(plane: Plane) -> None:
    plane.deploy(artifact_version="v1")
    body = {"serve_name": "fraud", "model_uri": TWO, "env": "local", "artifact_version": "v1"}
    problem = plane.post("/serve/deploy-model", body, 409)
    assert problem["model_uri"] == HEALTHY
    assert "v2" in problem["way_out"]
    assert plane.get("/artifact/fraud/v1")["model_uri"] == HEALTHY


def test_deploy_model_numbers_artifacts_and_knows_them_again(plane: Plane) -> None:
    versions = [plane.deploy(uri=uri)["artifact_version"] for uri in (HEALTHY, HEALTHY, TWO)]
    assert versions == ["v1", "v1", "v2"]


def test_a_patch_is_a_deployment_and_changes_nothing_that_it_does_not_name(plane: Plane) -> None:
    """Theirs wrote no row, and turned on-demand nodes into spot ones."""
    plane.deploy(node_capacity="ondemand")
    plane.patch("/serve/fraud/infra-config/local", {"cores": 8}, 202)
    plane.settle()
    infra = plane.get("/serve/fraud/infra-config/local")["api_serve_infra_config"]
    assert (infra["node_capacity_type"], infra["cores"], infra["memory"]) == ("ondemand", 8, 8)
    deployments = plane.get("/serve/fraud/deployments")["items"]
    assert [(each["revision"], each["status"]) for each in deployments] == [(2, "ACTIVE"), (1, "ENDED")]


def test_a_deploy_model_keeps_what_a_patch_has_said(plane: Plane) -> None:
    plane.deploy()
    plane.patch("/serve/fraud/infra-config/local", {"cores": 8}, 202)
    plane.settle()
    plane.deploy(uri=TWO, memory=16)
    infra = plane.get("/serve/fraud/infra-config/local")["api_serve_infra_config"]
    assert (infra["cores"], infra["memory"]) == (8, 16)


@pytest.mark.parametrize("body", [{"min_replicas": 3}, {"api_serve_infra_config": {"min_replicas": 3}}])
def test_a_partial_patch_is_compared_with_what_is_there(plane: Plane, body: object) -> None:
    """Theirs compared None with None."""
    plane.deploy(max_replicas=2)
    problem = plane.patch("/serve/fraud/infra-config/local", body, 422)
    assert problem["errors"] == [{"field": "min_replicas", "reason": "3 is more than replicas.max (2)"}]
    assert plane.status()["desired_revision"] == 1


@pytest.mark.parametrize(
    ("status", "revisions"), [("ENDED", [2, 1]), ("ACTIVE", [3]), ("FAILED", [4]), ("PENDING", [])]
)
def test_deployments_are_filtered_by_status(plane: Plane, status: str, revisions: list[int]) -> None:
    """Theirs answered ?status=ENDED with nothing, always."""
    for uri in (HEALTHY, TWO, HEALTHY):
        plane.deploy(uri=uri)
    plane.backend.broken.add("models:/fraud/4")
    plane.deploy(uri="models:/fraud/4")
    page = plane.get(f"/serve/fraud/deployments?status={status}")
    assert [each["revision"] for each in page["items"]] == revisions
    assert page["total"] == len(revisions)


def test_pages_of_deployments(plane: Plane) -> None:
    for number in range(1, 6):
        plane.deploy(uri=f"models:/fraud/{number}")
    pages = [plane.get(f"/serve/fraud/deployments?page={page}&limit=2") for page in (1, 2, 3, 4)]
    assert [[each["revision"] for each in page["items"]] for page in pages] == [[5, 4], [3, 2], [1], []]
    assert {page["total"] for page in pages} == {5}
    problem = plane.send("GET", "/serve/fraud/deployments?limit=201&status=GONE").json()
    assert {each["field"] for each in problem["errors"]} == {"query.limit", "query.status"}


def test_environments_do_not_collide(plane: Plane) -> None:
    """Theirs named the deployment of a model without its environment."""
    plane.post("/environment", {"name": "prod"}, 201)
    plane.deploy()
    plane.deploy(uri=TWO, env="prod")
    assert (plane.status()["model_uri"], plane.status(env="prod")["model_uri"]) == (HEALTHY, TWO)
    plane.post("/serve/undeploy-model", {"serve_name": "fraud", "env": "local"})
    plane.settle()
    assert (plane.status()["status"], plane.status(env="prod")["status"]) == ("STOPPED", "READY")


def test_never_ready_with_nobody_ready(plane: Plane) -> None:
    """Theirs was READY with no pods."""
    plane.backend.slow.add(TWO)
    plane.deploy(serve="slow", uri=TWO)
    assert plane.status("slow")["status"] == "STOPPED"
    plane.deploy()
    assert plane.status()["replicas"] == {"desired": 1, "ready": 1}
    plane.backend.crash(Key("local", "fraud"), 1)
    status = plane.status()
    assert (status["status"], status["replicas"]["ready"]) == ("NOT_READY", 0)
    plane.backend.away = True
    assert plane.status()["status"] == "UNKNOWN"


def test_rollback_goes_back(plane: Plane) -> None:
    """Theirs stored a pointer, and had no route."""
    plane.deploy(environment_variables={"A": "1"}, cores=2)
    plane.deploy(uri=TWO, environment_variables={"A": "2"}, cores=8)
    plane.post("/serve/fraud/rollback", {"env": "local", "revision": 1})
    plane.settle()
    status = plane.status()
    assert (status["revision"], status["model_uri"], status["status"]) == (3, HEALTHY, "READY")
    first, third = (plane.get(f"/serve/fraud/revisions/local/{number}") for number in (1, 3))
    assert third["content"] == first["content"]
    assert third["sha256"] == first["sha256"]
    assert third["restores"] == 1
    assert plane.get("/serve/fraud/infra-config/local")["api_serve_infra_config"]["cores"] == 2
    assert plane.get("/serve/fraud/revisions/local/2/diff/3")["text"] == [
        "artifact_version: v2 → v1",
        f"model_uri: {TWO} → {HEALTHY}",
        "infra.resources.cores: 8 → 2",
        "deployment.environment_variables.A: 2 → 1",
    ]


def test_no_secret_is_stored(plane: Plane, tmp_path: Path) -> None:
    """Theirs stored tokens and the tracking password as they are."""
    secret = "hunter2-hunter2-hunter2"
    body = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "local"}
    problem = plane.post("/serve/deploy-model", {**body, "environment_variables": {"DB_PASSWORD": secret}}, 422)
    assert "expected {'secret': NAME, 'key': KEY}" in problem["errors"][0]["reason"]
    problem = plane.post("/environment", {"name": "prod", "tracking_uri": f"http://me:{secret}@mlflow"}, 422)
    assert secret not in str(problem)
    plane.post("/serve/deploy-model", {**body, "model_uri": f"https://me:{secret}@host/model"}, 422)
    reference = {"DB_PASSWORD": {"secret": "database", "key": "password"}}
    plane.deploy(environment_variables=reference)
    token = plane.post("/token", {"name": "ci", "roles": {"*": "admin"}}, 201)["token"]
    plane.store.close()
    with sqlite3.connect(tmp_path / "plane.db") as database:
        dump = "\n".join(database.iterdump())
    assert secret not in dump
    assert token not in dump
    assert "database" in dump


@pytest.mark.parametrize(
    "path", ["/environment", "/serve", "/event", "/token", "/operation/1", "/serve/fraud/status/local"]
)
def test_reading_needs_a_token_too(plane: Plane, path: str) -> None:
    """Theirs answered every GET."""
    plane.post("/token", {"name": "ci", "roles": {"*": "admin"}}, 201)
    response = plane.send("GET", path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
