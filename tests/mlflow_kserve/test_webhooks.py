"""`mlflow-kserve webhook`, with the loops of a control plane that runs."""

from __future__ import annotations

import pytest

from tests.controlplane.receiver import receiving
from tests.mlflow_kserve.commands import Shell
from tests.mlflow_kserve.served_plane import ServedPlane
from tests.serving import wait_for


def test_from_subscription_to_repetition(
    capsys: pytest.CaptureFixture[str], plane: ServedPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", plane.url)
    run = Shell(capsys)
    with receiving() as receiver:
        made = run.json("webhook", "create", "ops", "--to", receiver.url, "--action", "deploy.succeeded")
        assert (made["format"], made["actions"]) == ("cloudevents", ["deploy.succeeded"])
        run("deploy-model", "--serve-name", "told", "--model-uri", "models:/fraud/1", "--wait")
        wait_for(lambda: run.json("webhook", "deliveries", "ops", "--state", "DELIVERED"))
        assert receiver.actions() == ["deploy.succeeded"]
    changed = run.json("webhook", "update", "ops", "--to", "secret:hooks/slack", "--format", "slack", "--env", "prod")
    assert (changed["url"], changed["env"]) == ({"secret": "hooks", "key": "slack"}, "prod")
    assert run("webhook", "list").out.splitlines()[1].split()[0] == "ops"
    assert run.json("webhook", "get", "ops")["pending"] == 0
    assert "DELIVERED" in run("webhook", "repeat", "ops", 1, status=4).err
    assert run("webhook", "delete", "ops").out == "webhook ops is deleted\n"
    run("webhook", "get", "ops", status=3)
