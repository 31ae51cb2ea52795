"""`follow: off`: the version that an alias names at deployment is what is served, and what a rollback brings back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controlplane.mlflow_registry import MOVING, AliasRegistry, alias_registry
from tests.controlplane.plane import Plane


@pytest.fixture
def registry() -> Iterator[AliasRegistry]:
    with alias_registry() as running:
        yield running


@pytest.fixture
def following(plane: Plane, registry: AliasRegistry) -> Plane:
    """A control plane whose environment has the registry."""
    plane.patch("/environment/local", {"tracking_uri": registry.url})
    return plane


def served(plane: Plane) -> object:
    return plane.status()["model_uri"]


def test_a_rollback_brings_back_the_version(following: Plane, registry: AliasRegistry) -> None:
    following.deploy(uri=MOVING, follow="off")
    assert served(following) == "models:/fraud/7"
    registry.aliases["champion"] = "8"
    following.deploy(uri=MOVING)
    assert served(following) == "models:/fraud/8"
    assert following.get("/artifact/fraud/v1")["model_uri"] == MOVING
    following.patch("/serve/fraud/infra-config/local", {"cores": 2}, 202)
    following.settle()
    following.post("/serve/fraud/rollback", {"env": "local", "revision": 1})
    following.settle()
    assert served(following) == "models:/fraud/7"


def test_a_server_follows_by_itself_otherwise(following: Plane) -> None:
    following.deploy(uri=MOVING)
    assert served(following) == MOVING
    following.deploy(uri=MOVING, follow="off")
    following.deploy(uri=MOVING, follow="hot")
    assert served(following) == MOVING


def test_an_artifact_is_settled_too(following: Plane) -> None:
    following.post("/serve", {"name": "fraud"}, 201)
    following.post("/artifact", {"serve_name": "fraud", "version": "v1", "model_uri": "models:/fraud/Production"}, 201)
    following.post("/serve/fraud/deploy", {"env": "local", "artifact_version": "v1", "follow": "off"})
    following.settle()
    assert served(following) == "models:/fraud/12"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("models:/fraud@none", "alias none not found"), ("models:/fraud/Archived", "no version of fraud in Archived")],
)
def test_what_the_registry_does_not_know(following: Plane, uri: str, reason: str) -> None:
    body = {"serve_name": "fraud", "model_uri": uri, "env": "local", "follow": "off"}
    problem = following.post("/serve/deploy-model", body, 422)
    assert reason in problem["errors"][0]["reason"]
    assert following.send("GET", "/serve/fraud").status_code == 404


def test_without_a_registry(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    body = {"serve_name": "fraud", "model_uri": MOVING, "env": "local", "follow": "off"}
    assert "no tracking server is known" in plane.post("/serve/deploy-model", body, 422)["detail"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "does not answer: ConnectError" in plane.post("/serve/deploy-model", body, 422)["detail"]
    plane.deploy(uri="models:/fraud/3", follow="off")
    assert served(plane) == "models:/fraud/3"
