"""What holds for every change: idempotency, preconditions, one at a time, dry runs, and errors that say the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.backends.backend import Key
from controlplane.store import targets
from tests.controlplane.plane import HEALTHY, Plane

TWO = "models:/fraud/2"
BODY = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "local"}


def test_a_repeated_request_changes_nothing_twice(plane: Plane) -> None:
    key = {"idempotency-key": "one"}
    first = plane.send("POST", "/serve/deploy-model", BODY, headers=key)
    plane.settle()
    second = plane.send("POST", "/serve/deploy-model", BODY, headers=key)
    assert (second.status_code, second.json()) == (202, first.json())
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]
    assert plane.status()["desired_revision"] == 1
    other = plane.post("/serve/deploy-model", {**BODY, "cores": 2}, 422, headers=key)
    assert other["way_out"] == "send another key"
    plane.clock.time += 86401
    assert plane.post("/serve/deploy-model", BODY, headers=key)["revision"] == 2


def test_a_refused_request_may_be_repeated_with_its_key(plane: Plane) -> None:
    key = {"idempotency-key": "one"}
    plane.post("/serve", {"name": "Fraud"}, 422, headers=key)
    plane.post("/serve", {"name": "fraud"}, 201, headers=key)
    plane.post("/serve", {"name": "fraud"}, 201, headers=key)
    plane.post("/serve", {"name": "fraud"}, 409)


@pytest.mark.parametrize("key", ["", "k" * 191])
def test_keys_that_are_none(plane: Plane, key: str) -> None:
    plane.post("/serve", {"name": "fraud"}, 400, headers={"idempotency-key": key})


def test_if_match(plane: Plane) -> None:
    for path, body in (
        ("/environment/local", {"workflow_url": "http://a"}),
        ("/serve/fraud", {"description": "b"}),
        ("/serve/fraud/infra-config/local", {"cores": 2}),
    ):
        if path == "/serve/fraud":
            plane.deploy()
        tag = plane.client.get(path).headers["etag"]
        stale = plane.send("PATCH", path, body, headers={"if-match": '"99"'})
        assert (stale.status_code, stale.json()["way_out"]) == (412, "read it again, and repeat the change")
        fresh = plane.send("PATCH", path, body, headers={"if-match": tag})
        assert fresh.status_code in (200, 202), fresh.text
        assert plane.send("PATCH", path, body, headers={"if-match": tag}).status_code == 412
        assert fresh.headers["etag"] != tag


def test_deploy_with_a_precondition(plane: Plane) -> None:
    plane.post("/serve/deploy-model", BODY, 412, headers={"if-match": '"1"'})
    plane.deploy()
    tag = plane.client.get("/serve/fraud/status/local").headers["etag"]
    plane.post("/serve/deploy-model", {**BODY, "model_uri": TWO}, headers={"if-match": tag})
    plane.settle()
    plane.post("/serve/undeploy/local", None, 404, headers={"if-match": tag})
    plane.post("/serve/fraud/undeploy/local", None, 412, headers={"if-match": tag})
    plane.post("/serve/fraud/undeploy/local", None, headers={"if-match": "*"})


CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/serve/deploy-model", {**BODY, "model_uri": TWO}),
    ("POST", "/serve/undeploy-model", {"serve_name": "fraud", "env": "local"}),
    ("POST", "/serve/fraud/deploy", {"env": "local", "artifact_version": "v1"}),
    ("POST", "/serve/fraud/undeploy/local", None),
    ("POST", "/serve/fraud/rollback", {"env": "local", "revision": 1}),
    ("PATCH", "/serve/fraud/infra-config/local", {"cores": 2}),
    ("DELETE", "/serve/fraud", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=lambda value: str(value)[:30])
def test_one_change_at_a_time(plane: Plane, method: str, path: str, body: Any) -> None:
    first = plane.post("/serve/deploy-model", BODY)["operation"]["id"]
    response = plane.send(method, path, body)
    problem = response.json()
    assert response.status_code == 409, problem
    if method != "DELETE":
        assert (problem["operation"], f"/operation/{first}/abort" in problem["way_out"]) == (first, True)
    assert plane.get("/serve/fraud/infra-config/local")["generation"] == 1
    plane.settle()
    assert plane.status()["revision"] == 1


@pytest.mark.parametrize(("method", "path", "body"), CHANGES[:-1], ids=lambda value: str(value)[:30])
def test_a_dry_run_changes_nothing(plane: Plane, method: str, path: str, body: Any) -> None:
    plane.deploy()
    before, calls = dump(plane), len(plane.backend.calls)
    response = plane.send(method, f"{path}?dry_run=true", body, headers={"idempotency-key": "dry"})
    assert response.status_code == 200, response.text
    assert response.json()["dry_run"] is True
    plane.settle()
    assert (dump(plane), len(plane.backend.calls)) == (before, calls)
    assert plane.send(method, path, body, headers={"idempotency-key": "dry"}).status_code == 202


def dump(plane: Plane) -> list[Any]:
    with plane.store.reading() as tx:
        return [
            targets.everything(tx),
            targets.revisions(tx, "fraud", None, 1, 200),
            plane.get("/event?limit=200"),
            plane.get("/artifact/fraud"),
        ]


def test_a_dry_run_says_what_would_change(plane: Plane) -> None:
    plane.deploy(cores=2)
    said = plane.post("/serve/deploy-model?dry_run=true", {**BODY, "model_uri": TWO, "cores": 8}, 200)["would"]
    assert said["changes"] == [
        "artifact_version: v1 → v2",
        f"model_uri: {HEALTHY} → {TWO}",
        "infra.resources.cores: 2 → 8",
    ]
    plane.post("/serve/deploy-model?dry_run=perhaps", BODY, 422)
    plane.post("/serve/deploy-model?dry_run=true", {**BODY, "cores": 65}, 422)


def test_a_change_that_is_aborted_leaves_what_was(plane: Plane) -> None:
    plane.deploy()
    plane.backend.slow.add(TWO)
    reply = plane.post("/serve/deploy-model", {**BODY, "model_uri": TWO})
    plane.step()
    path = f"/operation/{reply['operation']['id']}"
    assert plane.get(path)["state"] == "RUNNING"
    assert plane.post(f"{path}/abort", None, 200)["state"] == "ABORTED"
    plane.settle()
    assert (plane.status()["status"], plane.status()["revision"]) == ("READY", 1)
    assert list(plane.backend.instances[Key("local", "fraud")]) == [1]
    assert plane.get("/serve/fraud/deployments?status=ABORTED")["items"][0]["revision"] == 2
    assert "has ended" in plane.post(f"{path}/abort", None, 409)["detail"]


def test_a_bad_version_leaves_what_was(plane: Plane) -> None:
    plane.deploy()
    plane.backend.broken.add(TWO)
    reply = plane.deploy(uri=TWO)
    operation = plane.operation(reply)
    assert (operation["state"], operation["message"]) == (
        "FAILED", "revision 2 failed to start 3 times: it is broken",
    )  # fmt: skip
    status = plane.status()
    assert (status["status"], status["revision"], status["desired_revision"]) == ("READY", 1, 1)
    assert status["last_error"] == operation["message"]
    assert status["last_error_at"]


@pytest.mark.parametrize(
    ("method", "path", "body", "fields"),
    [
        ("POST", "/serve", {"name": "Fraud!", "type": "workflow", "spce": 1}, ["name", "type", "spce"]),
        ("POST", "/serve", [], None),
        ("POST", "/environment", {"name": "a_b", "environment_configs": {"namespace": "A", "subnet": ""}},
         ["name", "environment_configs.namespace", "environment_configs.subnet"]),
        ("POST", "/environment", {"name": "a", "environment_configs": []}, ["environment_configs"]),
        ("POST", "/environment", {"name": "a", "backend": "mesos"}, ["backend"]),
        ("POST", "/environment", {"name": "a", "namespace": "a", "environment_configs": {"namespace": "b"}},
         ["environment_configs.namespace"]),
        ("POST", "/serve/deploy-model", {}, ["serve_name", "model_uri", "env"]),
        ("POST", "/serve/deploy-model", {**BODY, "cores": 0, "memory": 513, "min_replicas": 101, "node_capacity": "big"},
         ["cores", "memory", "min_replicas", "node_capacity"]),
        ("POST", "/serve/deploy-model", {**BODY, "cores": True, "memory": "8", "max_replicas": 1.5},
         ["cores", "memory", "max_replicas"]),
        ("POST", "/serve/deploy-model", {**BODY, "serve_name": "a" * 51}, ["serve_name"]),
        ("POST", "/serve/deploy-model", {**BODY, "model_uri": "models:/fraud"}, ["model_uri"]),
        ("POST", "/serve/deploy-model", {**BODY, "model_uri": "model"}, ["model_uri"]),
        ("POST", "/serve/deploy-model", {**BODY, "environment_variables": {"A B": "c"}}, ["environment_variables"]),
        ("POST", "/serve/fraud/infra-config/local", {"spec": {"replicas": {"min": 0, "mox": 1}, "flavor": "x"}},
         ["spec.flavor"]),
        ("POST", "/serve/fraud/infra-config/local", {"cores": 2, "spec": {"resources": {"cores": "3"}}}, ["cores"]),
    ],
    ids=str,
)  # fmt: skip
def test_all_wrong_fields_at_once(plane: Plane, method: str, path: str, body: Any, fields: list[str] | None) -> None:
    plane.post("/serve", {"name": "fraud"}, 201)
    response = plane.send(method, path, body)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["way_out"]
    if fields is not None:
        assert sorted({each["field"] for each in problem["errors"]}) == sorted(fields)
        assert all(each["reason"] for each in problem["errors"])
    assert [each["name"] for each in plane.get("/serve")["items"]] == ["fraud"]
    assert [each["name"] for each in plane.get("/environment")["items"]] == ["local"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"{", "application/json", 400), (b"", "application/json", 422), (b'{"a": NaN}', "application/json", 422),
     (b'{"name": "fraud"}', "text/plain", 415), (b"\xff\xfe", "application/json", 400)],
)  # fmt: skip
def test_bodies_that_are_no_json(plane: Plane, content: bytes, kind: str, status: int) -> None:
    response = plane.client.request("POST", "/serve", content=content, headers={"content-type": kind})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["way_out"]


def test_large_bodies_are_refused(plane: Plane) -> None:
    response = plane.client.request(
        "POST", "/serve", content=b" " * (1 << 21), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/serve/none", 404),
        ("GET", "/serve/none/status/local", 404),
        ("GET", "/serve/fraud/status/none", 404),
        ("GET", "/serve/fraud/infra-config/local", 404),
        ("GET", "/serve/fraud/revisions/local/1", 404),
        ("GET", "/serve/fraud/revisions/local/one", 422),
        ("GET", "/serve/fraud/logs/local", 409),
        ("GET", "/operation/none", 404),
        ("GET", "/environment/none", 404),
        ("GET", "/artifact/fraud/v1", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/serve/fraud", 405),
        ("DELETE", "/environment/none", 404),
        ("POST", "/serve/fraud/undeploy/local", 409),
    ],
)
def test_what_is_not_there(plane: Plane, method: str, path: str, status: int) -> None:
    plane.post("/serve", {"name": "fraud"}, 201)
    response = plane.send(method, path)
    assert response.status_code == status, response.text
    assert response.json()["way_out"], response.text


def test_quotas(plane: Plane) -> None:
    quotas = {"serves": 2, "replicas": 5, "cores": 16, "memory": 40}
    plane.post("/environment", {"name": "small", "quotas": quotas}, 201)
    plane.deploy(env="small", cores=4, max_replicas=2)
    body = {"serve_name": "b", "model_uri": HEALTHY, "env": "small", "cores": 4, "memory": 8, "max_replicas": 4}
    problem = plane.post("/serve/deploy-model", body, 422)
    assert {each["field"]: each["expected"] for each in problem["errors"]} == {
        "quotas.replicas": "at most 5",
        "quotas.cores": "at most 16",
        "quotas.memory": "at most 40",
    }
    plane.deploy(serve="b", env="small", cores=4, memory=8)
    problem = plane.post("/serve/deploy-model", {**body, "serve_name": "c", "max_replicas": 1}, 422)
    assert "quotas.serves" in problem["detail"]
    assert plane.send("GET", "/serve/c").status_code == 404


def test_events_say_who_and_what(plane: Plane) -> None:
    plane.deploy()
    events = plane.get("/event?serve=fraud")["items"]
    assert [each["action"] for each in events] == ["serve.create", "artifact.create", "deploy", "deploy.succeeded"]
    assert events[2]["actor"] == "anybody on this machine"
    assert events[2]["after"]["revision"] == 1
    rest = plane.get(f"/event?after={events[1]['id']}&serve=fraud&limit=1")
    assert [each["action"] for each in rest["items"]] == ["deploy"]


def test_lists_have_pages_and_filters(plane: Plane) -> None:
    for name, space in (("a-one", "x"), ("a-two", "y"), ("b-one", "x")):
        plane.post("/serve", {"name": name, "space": space}, 201)

    def names(path: str) -> list[str]:
        return [each["name"] for each in plane.get(path)["items"]]

    assert names("/serve?space=x") == ["a-one", "b-one"]
    assert names("/serve?name=one&limit=1&page=2") == ["b-one"]
    assert names("/serve?name=%25") == []


def test_the_store_is_away(plane: Plane) -> None:
    plane.deploy()
    plane.store.engine.dispose()
    file = Path(str(plane.store.engine.url.database))
    file.rename(file.with_suffix(".gone"))
    file.mkdir()
    for method, url in (("GET", "/serve"), ("POST", "/serve/deploy-model"), ("GET", "http://localhost/readycheck")):
        response = plane.client.request(method, url, json=BODY if method == "POST" else None)
        assert response.status_code == 503, response.text
    assert plane.client.get("http://localhost/healthcheck").status_code == 200


def test_metrics(plane: Plane) -> None:
    plane.deploy()
    plane.backend.broken.add(TWO)
    plane.deploy(uri=TWO)
    text = plane.client.get("http://localhost/metrics").text
    for state in ("SUCCEEDED", "FAILED"):
        assert f'mlflow_kserve_controlplane_operations_total{{kind="deploy",state="{state}"}} 1.0' in text
    plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)
    assert plane.client.get("http://localhost/metrics").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/serve", b'{"name": "fraud", "description": "\\ud800"}'),
        ("POST", "/serve", b'{"name": "fraud", "description": "\\u0000"}'),
        ("POST", "/serve", b"[" * 100_000),
        ("POST", "/serve", b'{"name": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001),
        ("POST", "/environment", b'{"name": "a", "spec": {"env": {"A\\ud800": "b"}}}'),
        ("PATCH", "/environment/local", b'{"spec": {"env": {"A": "\\u0000"}}}'),
        ("PATCH", "/environment/local", b'{"spec": {"env": {"A": NaN}}}'),
        ("POST", "/serve/apply", b'{"env": "local", "spec": {"name": "a", "model": "/a", "env": {"A": -Infinity}}}'),
        ("POST", "/token", b'{"name": ' + b'{"a":' * 800 + b"1" + b"}" * 801),
        ("POST", "/webhook", b'{"name": "a", "url": "http://a", "actions": ' + b"[" * 800 + b"]" * 800 + b"}"),
        ("POST", "/serve/deploy-model", b'{"serve_name": "a", "env": "local", "model_uri": "/a", "cores": 1e999}'),
        ("POST", "/serve/deploy-model", b'{"serve_name": "a", "env": "local", "model_uri": "/a", "cores": ' + b"9" * 400 + b"}"),
        ("POST", "/serve/fraud/rollback", b'{"env": "local", "revision": 99999999999999999999}'),
        ("GET", "/event?after=99999999999999999999", b""),
        ("GET", "/serve/fraud/revisions/local/99999999999999999999", b""),
        ("GET", "/serve/fraud/logs/local?revision=99999999999999999999", b""),
        ("GET", "/serve/%00/status/%ff", b""),
        ("GET", "/serve?name=%00", b""),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_no_database_stores_is_the_callers_mistake(plane: Plane, method: str, path: str, content: bytes) -> None:
    headers = {"content-type": "application/json"} if content else {}
    response = plane.client.request(method, path, content=content, headers=headers)
    assert response.status_code in (400, 404, 422) or (method, response.status_code) == ("GET", 200), response.text
    assert len(response.content) < 3000


def test_every_problem_is_in_the_openapi_document(plane: Plane) -> None:
    paths = plane.client.get("http://localhost/openapi.json").json()["paths"]
    listed = [each for path, methods in paths.items() if path.startswith("/api/") for each in methods.values()]
    assert len(listed) > 30
    for each in listed:
        assert {"400", "401", "403", "404", "409", "412", "415", "422", "503"} <= each["responses"].keys()
        assert "application/problem+json" in each["responses"]["422"]["content"]
