"""`follow: rollout`: a version that an alias names becomes a revision, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient

from controlplane.backends.backend import BackendAway
from controlplane.domain.problems import FieldProblem
from controlplane.loops import loops
from controlplane.loops.following import UriFollower
from controlplane.store.followed import FollowedServe
from tests.controlplane.mlflow_registry import MOVING, AliasRegistry, alias_registry
from tests.controlplane.plane import Plane
from tests.mlflow_kserve.served_plane import served_plane
from tests.predictors.reload.test_reload import delivery
from tests.registry import mlflow_server
from tests.serving import wait_for


class FollowingPlane:
    """A control plane whose serve `fraud` follows the alias `champion`."""

    def __init__(self, plane: Plane, registry: AliasRegistry) -> None:
        self.plane, self.registry = plane, registry
        plane.patch("/environment/local", {"tracking_uri": registry.url})
        self.follower = UriFollower(plane.store, lambda environment: plane.backend, plane.lease)

    def move(self, version: str) -> list[FollowedServe]:
        """What follows once the alias has moved."""
        self.registry.aliases["champion"] = version
        return self.follow()

    def follow(self) -> list[FollowedServe]:
        changed: list[FollowedServe] = []
        self.follower.follow_all(changed.append)
        self.plane.settle()
        return changed

    def served(self) -> tuple[Any, Any]:
        status = self.plane.status()
        return status["revision"], status["model_uri"]


@pytest.fixture
def follower(plane: Plane) -> Iterator[FollowingPlane]:
    with alias_registry() as registry:
        made = FollowingPlane(plane, registry)
        plane.deploy(uri=MOVING, follow="rollout")
        yield made


def test_a_version_becomes_a_revision(follower: FollowingPlane) -> None:
    assert (follower.served(), follower.follow()) == ((1, "models:/fraud/7"), [])
    (moved,) = follower.move("8")
    assert (moved.env, moved.serve, follower.served()) == ("local", "fraud", (2, "models:/fraud/8"))
    revision = follower.plane.get("/serve/fraud/revisions/local/2")
    assert (revision["author"], revision["reason"]) == ("controlplane", f"{MOVING} names models:/fraud/8")
    assert follower.follow() == []


def test_a_version_that_fails_is_tried_once(follower: FollowingPlane) -> None:
    follower.plane.backend.broken.add("models:/fraud/8")
    assert len(follower.move("8")) == 1
    assert follower.served() == (1, "models:/fraud/7")
    assert follower.follow() == []
    follower.move("9")
    assert follower.served() == (3, "models:/fraud/9")
    assert len(follower.move("8")) == 1, "the alias has moved back to it"


def test_what_a_person_has_done_stays(follower: FollowingPlane) -> None:
    follower.move("8")
    follower.plane.post("/serve/fraud/rollback", {"env": "local", "revision": 1})
    assert (follower.follow(), follower.served()) == ([], (3, "models:/fraud/7"))
    follower.move("9")
    assert follower.served() == (4, "models:/fraud/9")
    follower.plane.deploy(uri=MOVING, follow="off")
    assert follower.move("10") == []


def test_a_change_under_way_is_waited_for(follower: FollowingPlane) -> None:
    follower.plane.backend.slow.add("models:/fraud/20")
    follower.plane.post("/serve/deploy-model", {"serve_name": "fraud", "model_uri": "models:/fraud/20", "env": "local"})
    follower.registry.aliases["champion"] = "8"
    changed: list[FollowedServe] = []
    follower.follower.follow_all(changed.append)
    assert changed == []
    follower.plane.settle()  # it fails
    follower.follow()
    assert follower.served() == (3, "models:/fraud/8")


def test_a_rollout_by_steps(follower: FollowingPlane) -> None:
    """The strategy of the serve is that of its new versions."""
    follower.plane.deploy(serve="careful", uri=MOVING, follow="rollout", deployment_strategy="canary")
    follower.registry.aliases["champion"] = "8"
    follower.follower.follow_all(lambda seen: None)
    rollout = follower.plane.get("/serve/careful/rollout/local")
    assert (rollout["revision"], rollout["strategy"]) == (2, "canary")


def test_what_is_refused_is_said_once(follower: FollowingPlane) -> None:
    follower.plane.patch("/environment/local", {"quotas": {"serves": 0}})
    assert follower.move("8") == follower.follow() == []
    events = [each for each in follower.plane.get("/event")["items"] if each["action"] == "follow.refused"]
    assert [each["after"]["version"] for each in events] == ["models:/fraud/8"]
    assert "has no room" in events[0]["message"]


def test_a_registry_that_is_away_is_asked_once_a_round(follower: FollowingPlane) -> None:
    follower.plane.deploy(serve="other", uri="models:/fraud@challenger2", follow="hot")
    follower.registry.aliases |= {"second": "7"}
    follower.plane.deploy(serve="another", uri="models:/fraud@second", follow="rollout")
    asked = follower.registry.asked
    assert follower.follow() == []
    assert follower.registry.asked == asked + 2
    follower.plane.patch("/environment/local", {"tracking_uri": "http://127.0.0.1:9"})
    assert follower.follow() == []
    assert list(follower.follower.failed.values()) == ["the registry does not answer: ConnectError"]
    follower.plane.patch("/environment/local", {"tracking_uri": follower.registry.url})
    assert len(follower.move("8")) == 1


def test_a_protected_environment_waits(follower: FollowingPlane) -> None:
    follower.plane.patch("/environment/local", {"protection": {"second_person": True}})
    follower.move("8")
    (waiting,) = follower.plane.get("/operation?state=WAITING")["items"]
    assert (waiting["author"], waiting["serve"]) == ("controlplane", "fraud")
    assert follower.plane.post(f"/operation/{waiting['id']}/approve", None, 200)["state"] == "RUNNING"
    follower.plane.settle()
    assert follower.served() == (2, "models:/fraud/8")


def test_a_cluster_that_is_away_holds_up_no_other(follower: FollowingPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    follower.plane.deploy(serve="another", uri=MOVING, follow="rollout")
    backend, away = follower.plane.backend, ["another"]

    def problems(serve: str, content: object) -> list[FieldProblem]:
        if serve in away:
            raise BackendAway("the cluster does not answer")
        return []

    monkeypatch.setattr(backend, "problems", problems)
    assert [seen.serve for seen in follower.move("8")] == ["fraud"]
    away.clear()
    assert [seen.serve for seen in follower.follow()] == ["another"]


def test_the_loop_asks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "FOLLOW_INTERVAL", 0.05)
    with alias_registry() as registry, served_plane(tmp_path) as running:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
        body = {"serve_name": "fraud", "model_uri": MOVING, "env": "local", "follow": "rollout"}
        place = f"{running.url}/api/v1/serve"
        assert httpx.post(f"{place}/deploy-model", json=body).status_code == 202
        registry.aliases["champion"] = "8"
        wait_for(lambda: httpx.get(f"{place}/fraud/status/local").json()["active_revision"] == 2, seconds=30)
        assert httpx.get(f"{place}/fraud/status/local").json()["model_uri"] == "models:/fraud/8"


def test_the_registry_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real registry posts that the alias has moved; the time of the next question is far away."""
    monkeypatch.setattr(loops, "FOLLOW_INTERVAL", 3600.0)
    (tmp_path / "webhook-secret").write_text("a secret of both\n")
    registry_variables = {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    }
    with mlflow_server(tmp_path, env=registry_variables) as uri, served_plane(tmp_path) as running:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        registry = MlflowClient(uri)
        registry.create_registered_model("fraud")
        for version in ("1", "2"):
            registry.create_model_version("fraud", f"s3://models/{version}")
        registry.set_registered_model_alias("fraud", "champion", "1")
        place, hook = f"{running.url}/api/v1/serve", f"{running.url}/hooks/mlflow"
        body = {"serve_name": "fraud", "model_uri": MOVING, "env": "local", "follow": "rollout"}
        assert httpx.post(f"{place}/deploy-model", json=body).status_code == 202
        wait_for(lambda: httpx.get(f"{place}/fraud/status/local").json()["active_revision"] == 1, seconds=30)
        registry.create_webhook("controlplane", hook, ["model_version_alias.created"], secret="a secret of both")
        registry.set_registered_model_alias("fraud", "champion", "2")
        wait_for(lambda: httpx.get(f"{place}/fraud/status/local").json()["active_revision"] == 2, seconds=30)

        def post(event: Any, **more: Any) -> httpx.Response:
            content = json.dumps(event).encode()
            headers = delivery(content, secret="a secret of both", **more) | {"content-type": "application/json"}
            return httpx.post(hook, content=content, headers=headers)

        event = {"entity": "model_version_alias", "action": "created", "data": {"name": "fraud", "alias": "champion"}}
        assert (post(event, name="once").status_code, post(event, name="once").status_code) == (202, 409)
        other = {**event, "data": {"name": "prices", "alias": "champion"}}
        assert post(other).json() == {"ignored": "nothing that is followed here"}
        unsigned = httpx.post(hook, json=event)
        assert (unsigned.status_code, unsigned.headers["content-type"]) == (401, "application/problem+json")
        large = httpx.post(hook, content=b" " * 2_000_000, headers={"content-type": "application/json"})
        assert large.status_code == 413
        (tmp_path / "webhook-secret").unlink()
        assert post(event).status_code == 503


def test_no_event_is_expected_without_a_secret(plane: Plane) -> None:
    reply = plane.client.post("http://localhost/hooks/mlflow", json={})
    assert (reply.status_code, "--webhook-secret-file" in reply.json()["detail"]) == (404, True)
