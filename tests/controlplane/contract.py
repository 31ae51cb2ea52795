"""What holds of every back end: a laptop is a cluster. Subclasses give a `live` control plane."""

from __future__ import annotations

import pytest

from tests.controlplane.live_plane import LivePlane

GOOD, BETTER, BROKEN = "models:/fraud/1", "models:/fraud/2", "models:/broken/1"


class DeploymentContract:
    """Models whose URI says broken never start."""

    @pytest.fixture
    def live(self) -> LivePlane:
        raise NotImplementedError

    def test_a_story(self, live: LivePlane) -> None:
        """Deployed, changed, a bad version, back again, undeployed, deployed again."""
        operation = live.deploy("story", GOOD, cores=1, memory=1)
        assert (operation["state"], operation["revision"]) == ("SUCCEEDED", 1)
        status = live.status("story")
        assert (status["status"], status["revision"], status["artifact_version"]) == ("READY", 1, "v1")
        assert status["replicas"]["ready"] >= 1
        assert status["url"].startswith("http://")
        assert (status["last_error"], status["conflicts"]) == (None, [])
        url = status["url"]

        change = live.send("PATCH", f"/serve/story/infra-config/{live.env}", {"cores": 2, "max_replicas": 2})
        assert live.settled("story", change["deployment"])["state"] == "SUCCEEDED"
        status = live.status("story")
        assert (status["status"], status["revision"], status["url"]) == ("READY", 2, url)

        operation = live.deploy("story", BROKEN)
        assert operation["state"] == "FAILED"
        assert "revision 3" in operation["message"]
        live.act_until("story", lambda: live.status("story")["revision"] == 2)
        live.settle("story")
        status = live.status("story")
        assert (status["status"], status["desired_revision"], status["last_error"]) == (
            "READY", 2, operation["message"],
        )  # fmt: skip

        back = live.send("POST", "/serve/story/rollback", {"env": live.env, "revision": 1})
        assert live.settled("story", back)["state"] == "SUCCEEDED"
        first, fourth = (live.get(f"/serve/story/revisions/{live.env}/{number}") for number in (1, 4))
        assert first["sha256"] == fourth["sha256"]
        assert live.status("story")["revision"] == 4

        gone = live.send("POST", f"/serve/story/undeploy/{live.env}")
        assert live.settled("story", gone)["state"] == "SUCCEEDED"
        status = live.status("story")
        assert (status["status"], status["revision"], status["replicas"]["ready"]) == ("STOPPED", None, 0)

        assert live.deploy("story", BETTER)["state"] == "SUCCEEDED"
        assert live.status("story")["revision"] == 5
        listed = live.get("/serve/story/deployments")["items"]
        assert [(each["revision"], each["status"]) for each in listed] == [
            (5, "ACTIVE"), (4, "ENDED"), (3, "FAILED"), (2, "ENDED"), (1, "ENDED"),
        ]  # fmt: skip

    def test_a_first_version_that_is_bad_leaves_nothing(self, live: LivePlane) -> None:
        assert live.deploy("bad", BROKEN)["state"] == "FAILED"
        live.act_until("bad", lambda: live.status("bad")["status"] == "STOPPED")
        assert live.status("bad")["pods"] == []

    def test_what_is_not_ready_is_not_called_ready(self, live: LivePlane) -> None:
        body = {"serve_name": "slow", "model_uri": BROKEN, "env": live.env, "flavor": "sklearn"}
        live.send("POST", "/serve/deploy-model", body)
        statuses = [live.status("slow")["status"]]

        def ended() -> bool:
            statuses.append(live.status("slow")["status"])
            return not live.under_way("slow")

        live.act_until("slow", ended)
        assert "READY" not in statuses

    def test_an_abort_goes_back(self, live: LivePlane) -> None:
        assert live.deploy("aborted", GOOD)["state"] == "SUCCEEDED"
        body = {"serve_name": "aborted", "model_uri": BETTER, "env": live.env, "flavor": "sklearn"}
        reply = live.send("POST", "/serve/deploy-model", body)
        live.reconciler.reconcile(live.key("aborted"))
        live.send("POST", f"/operation/{reply['operation']['id']}/abort", status=200)
        live.act_until("aborted", lambda: live.status("aborted")["revision"] == 1)
        live.settle("aborted")
        assert live.status("aborted")["status"] == "READY"

    def test_a_dry_run_changes_nothing(self, live: LivePlane) -> None:
        body = {"serve_name": "dry", "model_uri": GOOD, "env": live.env, "flavor": "sklearn"}
        reply = live.send("POST", "/serve/deploy-model?dry_run=true", body, 200)
        assert reply["would"]["revision"] == 1
        live.send("GET", "/serve/dry", None, 404)
        assert live.backend.observe(live.key("dry")).instances == ()

    def test_a_spec_can_be_applied_any_number_of_times(self, live: LivePlane) -> None:
        spec = {"name": "spec", "model": GOOD, "flavor": "sklearn", "replicas": {"min": 1, "max": 2}}
        body = {"env": live.env, "spec": spec}
        assert live.settled("spec", live.send("POST", "/serve/apply", body))["state"] == "SUCCEEDED"
        assert live.send("POST", "/serve/apply", body, 200)["operation"] is None
        changed = {**body, "spec": {**spec, "model": BETTER}}
        reply = live.send("POST", "/serve/apply", changed)
        assert reply["changes"] == ["artifact_version: v1 → v2", f"model_uri: {GOOD} → {BETTER}"]
        live.settle("spec")
        assert live.status("spec")["revision"] == 2
