"""Protected environments: who may deploy, and changes that wait for a second person."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane.plane import HEALTHY, Plane

TWO = "models:/fraud/2"


class Team:
    """Callers of a control plane, each with a token."""

    def __init__(self, plane: Plane, **protection: Any) -> None:
        self.plane = plane
        protected = {"name": "prod", "protection": {"second_person": True, **protection}}
        plane.post("/environment", protected, 201)
        self.headers: dict[str, dict[str, str]] = {}
        roles = {"ops": "admin", "ana": "deployer", "ben": "approver", "cleo": "approver", "dan": "viewer"}
        for name, role in roles.items():
            token = plane.post("/token", {"name": name, "roles": {"*": role}}, 201, headers=self.headers.get("ops"))
            self.headers[name] = {"authorization": f"Bearer {token['token']}"}

    def post(self, who: str, path: str, body: Any = None, status: int = 202, **options: Any) -> Any:
        return self.plane.post(path, body, status, headers=self.headers[who], **options)

    def patch(self, who: str, path: str, body: Any, status: int = 202) -> Any:
        return self.plane.patch(path, body, status, headers=self.headers[who])

    def get(self, path: str) -> Any:
        return self.plane.get(path, headers=self.headers["dan"])

    def deploy(self, who: str = "ana", uri: str = HEALTHY, env: str = "prod", status: int = 202) -> Any:
        body = {"serve_name": "fraud", "model_uri": uri, "env": env}
        return self.post(who, "/serve/deploy-model", body, status).get("operation")

    def decide(self, who: str, operation: Any, verb: str = "approve", status: int = 200, reason: str = "") -> Any:
        return self.post(who, f"/operation/{operation['id']}/{verb}", {"reason": reason} if reason else None, status)

    def state(self, operation: Any) -> tuple[str, str]:
        shown = self.get(f"/operation/{operation['id']}")
        return shown["state"], shown["message"]

    def revision(self) -> tuple[str, int | None, int | None]:
        status = self.get("/serve/fraud/status/prod")
        return status["status"], status["desired_revision"], status["revision"]

    def deployed(self) -> None:
        """Revision 1 serves."""
        self.decide("ben", self.deploy())
        self.plane.settle()

    def actions(self) -> list[str]:
        return [each["action"] for each in self.get("/event?env=prod&serve=fraud")["items"]]


@pytest.fixture
def team(plane: Plane) -> Team:
    return Team(plane)


def test_a_change_waits_for_another_person(team: Team) -> None:
    first = team.deploy()
    assert first["state"] == "WAITING"
    team.plane.settle(60)
    assert team.revision() == ("STOPPED", None, None)
    assert [each["id"] for each in team.get("/operation?state=WAITING&env=prod")["items"]] == [first["id"]]
    for who in ("dan", "ana"):
        assert team.decide(who, first, status=403)["detail"] == f"token {who} is not approver in environment 'prod'"
    approved = team.decide("ben", first, reason="I have seen its report")
    assert approved["state"] == "RUNNING"
    team.plane.settle()
    assert (team.state(first)[0], team.revision()) == ("SUCCEEDED", ("READY", 1, 1))
    assert team.actions() == ["deploy", "deploy.waiting", "approve", "deploy.succeeded"]
    approval = team.get("/event?env=prod&serve=fraud")["items"][2]
    assert (approval["actor"], approval["message"]) == ("token ben", "I have seen its report")
    revision = team.get("/serve/fraud/revisions/prod/1")
    assert approval["after"] == {"revision": 1, "sha256": revision["sha256"]}
    team.decide("cleo", first, status=409)
    assert team.deploy("ana", env="local")["state"] == "RUNNING", "another environment is not protected"


def test_nobody_approves_their_own_change(team: Team) -> None:
    own = team.deploy("ben")
    assert "another person" in team.decide("ben", own, status=403)["detail"]
    assert team.post("ben", f"/operation/{own['id']}/abort", None, 200)["state"] == "ABORTED"
    assert "another person" in team.decide("ops", team.deploy("ops"), status=403)["detail"]


def test_what_serves_goes_on_meanwhile(team: Team) -> None:
    team.deployed()
    waiting = team.deploy("ben", TWO)
    team.plane.settle(60)
    assert team.revision() == ("READY", 1, 1)
    second = team.post("ana", "/serve/fraud/undeploy/prod", None, 409)
    assert "has a change that waits for approval" in second["detail"]
    key = next(iter(team.plane.keys()))
    team.plane.backend.crash(key, 1)
    team.plane.settle(60)
    assert team.revision() == ("READY", 1, 1), "it is started again"
    team.decide("cleo", waiting)
    team.plane.settle()
    assert team.revision() == ("READY", 2, 2)
    undeploy = team.post("ana", "/serve/fraud/undeploy/prod", None)["operation"]
    team.plane.settle(60)
    assert (undeploy["state"], team.revision()) == ("WAITING", ("READY", 2, 2))
    team.decide("ben", undeploy)
    team.plane.settle()
    assert team.revision()[0] == "STOPPED"


def test_the_way_back_is_open(team: Team) -> None:
    """A revision that has served was approved once; one that was rejected was not."""
    team.deployed()
    team.decide("cleo", team.deploy("ben", TWO))
    team.plane.settle()
    rejected = team.deploy("ana", "models:/fraud/3")
    team.decide("ben", rejected, "reject")
    back = team.post("ana", "/serve/fraud/rollback", {"env": "prod", "revision": 1})["operation"]
    assert back["state"] == "RUNNING"
    team.plane.settle()
    assert team.revision() == ("READY", 4, 4)
    undo = team.post("ana", "/serve/fraud/rollout/prod/undo", None)["operation"]
    assert undo["state"] == "RUNNING"
    team.plane.settle()
    never = team.post("ana", "/serve/fraud/rollback", {"env": "prod", "revision": 3})["operation"]
    assert never["state"] == "WAITING"


@pytest.mark.parametrize("how", ["reject", "expire", "abort"])
def test_a_change_that_is_not_approved_leaves_nothing(team: Team, how: str) -> None:
    team.deployed()
    before = team.get("/serve/fraud/infra-config/prod")["api_serve_infra_config"]
    waiting = team.patch("ana", "/serve/fraud/infra-config/prod", {"cores": 8})["deployment"]["operation"]
    assert waiting["state"] == "WAITING"
    if how == "expire":
        assert team.plane.step() is not None
        team.plane.clock.time += 86400
        assert "has expired" in team.decide("ben", waiting, status=409)["detail"]
        team.plane.settle()
        message = "nobody has approved it in time"
    elif how == "reject":
        team.decide("ben", waiting, "reject", reason="too large")
        message = "rejected by token ben: too large"
    else:
        team.post("ana", f"/operation/{waiting['id']}/abort", None, 200)
        message = "aborted by token ana"
    assert team.state(waiting) == ("ABORTED", message)
    assert team.get("/serve/fraud/infra-config/prod")["api_serve_infra_config"] == before
    assert team.get("/serve/fraud/deployments?status=ABORTED")["items"][0]["message"] == message
    assert team.actions()[-2:] == ["redeploy.waiting", how]
    team.plane.settle()
    assert team.revision() == ("READY", 1, 1)
    team.decide("ben", waiting, status=409)


def test_quotas_are_held_to_at_approval(team: Team) -> None:
    waiting = team.deploy()
    team.patch("ops", "/environment/prod", {"quotas": {"serves": 0}}, 200)
    assert "has no room" in team.decide("ben", waiting, status=422)["detail"]
    assert team.state(waiting)[0] == "WAITING"


def test_who_may_deploy(plane: Plane) -> None:
    team = Team(plane, second_person=False, deployers=["token ana"])
    for who in ("ben", "ops"):
        body = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "prod"}
        problem = team.post(who, "/serve/deploy-model", body, 403)
        assert (f"token {who} is not among those" in problem["detail"], "token ana" in problem["way_out"]) == (
            True,
            True,
        )
    assert team.deploy("ana")["state"] == "RUNNING"
    plane.settle()
    team.post("ops", "/serve/fraud/undeploy/prod", None, 403)


def test_only_those_who_may_deploy_bring_a_rollout_forward(plane: Plane) -> None:
    team = Team(plane, second_person=False, deployers=["token ana"])
    team.deploy("ana")
    plane.settle()
    body = {"serve_name": "fraud", "model_uri": TWO, "env": "prod", "deployment_strategy": "canary"}
    team.post("ana", "/serve/deploy-model", body)
    for _ in range(3):
        plane.step()
    team.post("ops", "/serve/fraud/rollout/prod/pause", None, 200)  # the way back is open
    for verb in ("resume", "promote"):
        problem = team.post("ops", f"/serve/fraud/rollout/prod/{verb}", None, 403)
        assert "token ops is not among those" in problem["detail"]
    team.post("ana", "/serve/fraud/rollout/prod/resume", None, 200)


def test_a_dry_run_waits_for_nobody(team: Team) -> None:
    body = {"serve_name": "fraud", "model_uri": HEALTHY, "env": "prod"}
    would = team.post("ana", "/serve/deploy-model?dry_run=true", body, 200)["would"]
    assert would["operation"]["state"] == "WAITING"
    assert team.get("/operation")["total"] == 0


def test_an_open_control_plane_has_no_second_person(plane: Plane) -> None:
    plane.post("/environment", {"name": "prod", "protection": {"second_person": True}}, 201)
    waiting = plane.post("/serve/deploy-model", {"serve_name": "fraud", "model_uri": HEALTHY, "env": "prod"})
    problem = plane.post(f"/operation/{waiting['operation']['id']}/approve", None, 403)
    assert "another person must approve it" in problem["detail"]


def test_a_rollout_by_steps_waits_first(team: Team) -> None:
    team.deployed()
    body = {"serve_name": "fraud", "model_uri": TWO, "env": "prod", "deployment_strategy": "canary"}
    waiting = team.post("ana", "/serve/deploy-model", body)["operation"]
    team.plane.settle(60)
    assert (
        "no rollout of fraud is under way" in team.post("ana", "/serve/fraud/rollout/prod/promote", None, 409)["detail"]
    )
    team.decide("ben", waiting)
    for _ in range(20):
        team.plane.step()
        team.plane.clock.time += 1
    rollout = team.get("/serve/fraud/rollout/prod")
    assert (rollout["revision"], rollout["state"]) == (2, "RUNNING")
    assert team.revision() == ("READY", 2, 1)
