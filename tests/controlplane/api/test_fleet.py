"""The list of everything that runs, and the newest events."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.backends.backend import BackendAway, Key
from tests.controlplane.plane import Plane


@pytest.fixture
def fleet(plane: Plane) -> Plane:
    """A serve in each state."""
    plane.backend.broken |= {"models:/broken/1", "models:/worse/2"}
    plane.backend.slow.add("models:/slow/1")
    plane.post("/environment", {"name": "prod"}, 201)
    plane.post("/serve", {"name": "empty", "space": "risk"}, 201)
    for name in ("fine", "worse", "gone"):
        plane.deploy(name, f"models:/{name}/1")
    plane.deploy("fine", "models:/fine/1", env="prod")
    plane.deploy("worse", "models:/worse/2")
    plane.deploy("broken", "models:/broken/1")
    plane.post("/serve/gone/undeploy/local")
    plane.settle()
    plane.post("/serve/deploy-model", {"serve_name": "slow", "model_uri": "models:/slow/1", "env": "local"})
    plane.step()
    return plane


def names(reply: Any) -> list[tuple[str, str]]:
    return [(each["serve"], each["group"]) for each in reply["items"]]


def test_what_is_wrong_comes_first(fleet: Plane) -> None:
    reply = fleet.get("/fleet")
    assert names(reply) == [
        ("broken", "wrong"), ("slow", "changing"), ("worse", "running"), ("fine", "running"), ("fine", "running"),
        ("empty", "stopped"), ("gone", "stopped"),
    ]  # fmt: skip
    assert reply["groups"] == {"wrong": 1, "changing": 1, "unknown": 0, "running": 3, "stopped": 2}
    worse = reply["items"][2]
    assert (worse["revision"], worse["model_uri"], worse["status"]) == (1, "models:/worse/1", "READY")
    assert worse["message"] == "revision 2 failed to start 3 times: it is broken"


def test_filters_and_pages(fleet: Plane) -> None:
    assert names(fleet.get("/fleet?text=ris")) == [("empty", "stopped")]
    assert names(fleet.get("/fleet?env=prod")) == [("fine", "running")]
    assert names(fleet.get("/fleet?group=changing")) == [("slow", "changing")]
    assert names(fleet.get("/fleet?page=2&limit=3")) == [("fine", "running"), ("fine", "running"), ("empty", "stopped")]
    fleet.patch("/fleet", {}, 405)


def test_what_has_gone_wrong_since(fleet: Plane) -> None:
    """Of what the loops see, a back end that is away is told from a serve that is not ready."""
    fine = Key("prod", "fine")
    fleet.backend.crash(fine, 1)
    assert fleet.get("/fleet?env=prod")["groups"]["running"] == 1, "it is as it was when it was seen last"
    fleet.backend.broken.add("models:/fine/1")
    fleet.reconciler.reconcile(fine)
    assert fleet.get("/fleet?env=prod")["groups"]["wrong"] == 1
    fleet.backend.away = True
    with pytest.raises(BackendAway):
        fleet.reconciler.reconcile(fine)
    assert fleet.get("/fleet?env=prod")["groups"]["unknown"] == 1


def test_the_newest_events(fleet: Plane) -> None:
    newest = fleet.get("/event?before=9223372036854775807&limit=2")
    assert [each["serve"] for each in newest["items"]] == ["slow", "slow"]
    older = fleet.get(f"/event?before={newest['next']}&limit=200")["items"]
    assert [each["id"] for each in older] == sorted((each["id"] for each in older), reverse=True)
    assert len(older) + 2 == len(fleet.get("/event?limit=200")["items"])
