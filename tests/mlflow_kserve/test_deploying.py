"""Commands of the control plane, over HTTP."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import yaml

from tests.mlflow_kserve.commands import Shell, completed
from tests.mlflow_kserve.served_plane import ServedPlane
from tests.serving import wait_for

BROKEN, SLOW = "models:/broken/1", "models:/slow/1"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], plane: ServedPlane, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", plane.url)
    plane.backend.broken, plane.backend.slow = {BROKEN}, {SLOW}
    return Shell(capsys)


def test_what_others_say_does_not_speak_to_the_terminal(run: Shell, plane: ServedPlane) -> None:
    hostile = "\x1b]0;owned\x07\x9b2Jred\u202e\nnext"
    with httpx.Client(base_url=f"{plane.url}/api/v1") as client:
        client.post("/serve", json={"name": "shouts", "description": hostile}).raise_for_status()
    for said in (run("serve", "get", "shouts").out, run("serve", "list").out):
        assert [char for char in said if char != "\n" and not char.isprintable()] == []
    assert "owned" in run("serve", "get", "shouts").out
    assert run.json("serve", "get", "shouts")["description"] == hostile


def test_from_deployment_to_rollback(run: Shell) -> None:
    said = run("deploy-model", "--serve-name", "story", "--model-uri", "models:/fraud/1", "--cores", 2, "--wait").out
    assert ("READY" in said, "models:/fraud/1" in said) == (True, True)
    assert run.json("infra", "get", "story")["api_serve_infra_config"]["cores"] == 2

    dry = run.json("infra", "set", "story", "--cores", 4, "--dry-run")
    assert dry["would"]["deployment"]["changes"] == ["infra.resources.cores: 2 → 4"]
    assert run.json("infra", "set", "story", "--cores", 4, "--set", 'spec={"workers": 2}', "--wait")["revision"] == 2

    assert "cores: 2 → 4" in run("revision", "diff", "story", 1, 2).out
    assert run.json("revision", "rollback", "story", 1, "--wait")["revision"] == 3
    rows = run("revision", "list", "story").out.splitlines()
    assert rows[0].split()[:3] == ["ENV", "REVISION", "ARTIFACT"]
    assert [row.split()[1] for row in rows[1:]] == ["3", "2", "1"]
    assert run.json("revision", "get", "story", 2)["content"]["infra"]["workers"] == 2

    artifact = run.json("artifact", "create", "story", "two", "--model-uri", "models:/fraud/2")
    assert (artifact["version"], artifact["model_uri"]) == ("two", "models:/fraud/2")
    deployed = run.json("deployment", "create", "story", "two", "--variable", "A=b=c", "--reason", "newer", "--wait")
    assert (deployed["artifact_version"], deployed["revision"]) == ("two", 4)
    assert run.json("revision", "get", "story", 4)["content"]["deployment"]["environment_variables"] == {"A": "b=c"}
    assert [each["version"] for each in run.json("artifact", "list", "story")] == ["two", "v1"]
    assert {"ACTIVE", "ENDED"} == {each["status"] for each in run.json("deployment", "list", "story")}
    assert run("deployment", "logs", "story", "--lines", 2).out == "a line\na line\n"

    assert run.json("serve", "get", "story")["environments"] == ["local"]
    assert run.json("deployment", "delete", "story", "--wait")["status"] == "STOPPED"
    run("serve", "delete", "story")
    assert "there is no serve 'story'" in run("serve", "get", "story", status=3).err
    actions = [each["action"] for each in run.json("event", "list", "--serve", "story", "--limit", 200)]
    assert actions[-1] == "serve.delete"


def test_exit_codes_tell_the_ends_apart(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = run("deploy-model", "--serve-name", "ends", "--model-uri", BROKEN, "--wait", status=1)
    assert "error: deploy failed" in failed.err
    refused = run("deploy-model", "--serve-name", "Ends!", "--model-uri", "fraud", "--cores", 65, status=3).err
    assert refused.splitlines()[0].startswith("error: serve_name is 'Ends!': expected small letters")
    assert "cores is 65: expected 64 or less" in refused
    problem = json.loads(run("serve", "get", "nobody", "-o", "json", status=3).err)
    assert (problem["status"], problem["detail"]) == (404, "there is no serve 'nobody'")
    begun = run.json("deploy-model", "--serve-name", "ends", "--model-uri", SLOW)
    assert begun["operation"]["state"] == "RUNNING"
    conflict = run("deploy-model", "--serve-name", "ends", "--model-uri", "models:/fraud/1", status=4)
    assert begun["operation"]["id"] in conflict.err
    late = run("undeploy-model", "--serve-name", "ends", "--wait", "--timeout", 0.1, status=4)
    assert "error:" in late.err
    assert run.json("operation", "abort", begun["operation"]["id"])["state"] == "ABORTED"
    run("operation", "get", begun["operation"]["id"], status=1)
    late = run("deploy-model", "--serve-name", "ends", "--model-uri", SLOW, "--wait", "--timeout", 0.1, status=6)
    assert "still under way after 0.1 s" in late.err
    run("operation", "abort", run.json("deployment", "status", "ends")["operation"]["id"])
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", "http://127.0.0.1:9")
    assert "does not answer: Connection refused" in run("serve", "list", status=5).err
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", "127.0.0.1:8007")
    assert "is not the URL of a control plane" in run("serve", "list", status=2).err


def test_progress_is_shown_while_it_happens(run: Shell, plane: ServedPlane) -> None:
    said = run("deploy-model", "--serve-name", "watched", "--model-uri", "models:/fraud/1", "--watch")
    assert said.err.splitlines()[-1] == "revision 1: ready, serving"
    assert "READY" in said.out


def test_a_rollout_is_steered(run: Shell) -> None:
    deploy = ("deploy-model", "--serve-name", "steered", "--model-uri")
    run(*deploy, "models:/fraud/1", "--wait")
    assert "no rollout of steered is under way in local" in run("rollout", "pause", "steered", status=4).err
    canary = ("--deployment-strategy", "canary", "--deployment-strategy-config", '{"steps": [5, 50], "interval": "1h"}')
    run(*deploy, "models:/fraud/2", *canary)
    wait_for(lambda: run.json("rollout", "status", "steered")["steps"][0]["state"] == "RUNNING")
    assert run.json("rollout", "pause", "steered")["state"] == "PAUSED"
    rows = run("rollout", "promote", "steered").out.splitlines()
    assert rows[-2].split()[:3] == ["1", "5", "SKIPPED"]
    assert run.json("rollout", "abort", "steered")["state"] == "ABORTED"
    run("rollout", "retry", "steered")
    assert "canary" in run("rollout", "status", "steered").out
    assert run.json("rollout", "promote", "steered", "--full")["steps"][0]["state"] in ("PENDING", "SKIPPED")
    wait_for(lambda: run.json("rollout", "status", "steered")["state"] == "SUCCEEDED")
    assert run.json("rollout", "undo", "steered", "--wait")["revision"] == 1
    assert [each["state"] for each in run.json("rollout", "list", "steered")] == ["SUCCEEDED", "ABORTED"]


def test_a_list_is_shown_again_when_it_changes(run: Shell, plane: ServedPlane) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow_kserve", "serve", "list", "--space", "watchers", "--watch"],
        stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "none\n"
            run("serve", "create", "seen", "--space", "watchers")
            assert watching.stdout.readline().startswith("NAME")
            assert watching.stdout.readline().startswith("seen")
        finally:
            watching.terminate()


def test_replies_are_a_table_json_or_yaml(run: Shell) -> None:
    run("serve", "create", "shown", "--space", "shapes", "--description", "a description")
    table = run("serve", "list", "--space", "shapes").out.splitlines()
    assert table[0].split() == ["NAME", "SPACE", "ENVIRONMENTS", "DESCRIPTION", "UPDATED", "AT"]
    assert table[1].startswith("shown  shapes  -")
    [listed] = run.json("serve", "list", "--space", "shapes")
    assert yaml.safe_load(run("serve", "list", "--space", "shapes", "-o", "yaml").out) == [listed]
    assert run("serve", "list", "--space", "nobody's").out == "none\n"


def test_all_pages_are_read(run: Shell, plane: ServedPlane) -> None:
    from controlplane.domain.serves import NewServe
    from controlplane.store import serves

    with plane.store.writing() as tx:
        for number in range(201):
            serves.add(tx, 0.0, NewServe(name=f"many-{number}", space="many"))
    assert len(run.json("serve", "list", "--space", "many")) == 201


def test_environments(run: Shell, tmp_path: Path) -> None:
    file = tmp_path / "environment.yaml"
    file.write_text("environment_configs: {namespace: ml-serve, cluster_name: kind}\n")
    made = run.json("environment", "create", "staging", "-f", file)
    assert made["environment_configs"]["cluster_name"] == "kind"
    changed = run.json(
        "environment", "update", "staging", "--domain-suffix", ".example.com", "--set", 'quotas={"serves": 3}'
    )
    assert changed["environment_configs"]["domain_suffix"] == ".example.com"
    assert changed["environment_configs"]["quotas"]["serves"] == 3
    assert "staging" in run("environment", "list").out
    run("environment", "delete", "staging")
    assert "no environment 'staging'" in run("environment", "get", "staging", status=3).err


def test_a_spec_is_applied_any_number_of_times(run: Shell, tmp_path: Path) -> None:
    made = run.json("environment", "create", "cluster", "--backend", "kserve", "--namespace", "ml", "--mode", "Knative")
    assert made["environment_configs"]["mode"] == "Knative"
    spec = tmp_path / "serve.yaml"
    spec.write_text("name: applied\nmodel: models:/fraud/1\nflavor: sklearn\nresources: {cores: 2}\n")
    apply = ("apply", "-f", spec, "--env", "cluster", "--wait")
    assert run.json(*apply)["status"] == "READY"
    assert run.json(*apply)["operation"] is None
    spec.write_text(spec.read_text().replace("cores: 2", "cores: 3"))
    assert run.json(*apply, "--reason", "slow")["revision"] == 2
    assert "kind: InferenceService" in run("deployment", "export", "applied", "--env", "cluster", "--revision", 1).out
    assert "error: " in run("deployment", "adopt", "applied", "--env", "cluster", status=4).err
    assert run.json("deployment", "take-over", "applied", "--env", "cluster", "--dry-run")["dry_run"]
    assert run.json("environment", "adopt", "cluster")["serves"] == []


def test_a_repository_is_fetched_or_says_why_not(run: Shell, tmp_path: Path) -> None:
    run("serve", "create", "fetched")
    away = f"file://{tmp_path / 'nowhere'}"
    failed = run("artifact", "create", "fetched", "v1", "--github-repo-url", away, "--wait", status=1)
    assert "FAILED" in failed.out
    [job] = run.json("artifact", "jobs", "--status", "FAILED")
    assert json.loads(run("artifact", "status", job["job_id"], "-o", "json", status=1).out)["version"] == "v1"


def test_a_change_whose_reply_is_lost_is_not_made_twice(
    run: Shell, plane: ServedPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first connection is cut once the change is made, so that it is sent again with its key."""
    address = ("127.0.0.1", int(plane.url.rpartition(":")[2]))
    keys = []

    def exchanged(caller: socket.socket) -> bytes:
        request = caller.recv(65536)
        while not request.endswith(b"}"):
            request += caller.recv(65536)
        keys.append(re.findall(rb"(?i)idempotency-key: (\w+)", request))
        with socket.create_connection(address) as behind:
            behind.sendall(request)
            return b"".join(iter(lambda: behind.recv(65536), b""))

    with socket.create_server(("127.0.0.1", 0)) as between:

        def lose_the_first_reply() -> None:
            first, _ = between.accept()
            exchanged(first)
            first.close()
            second, _ = between.accept()
            second.sendall(exchanged(second))
            second.close()

        thread = threading.Thread(target=lose_the_first_reply)
        thread.start()
        monkeypatch.setenv("MLFLOW_KSERVE_API_URL", f"http://127.0.0.1:{between.getsockname()[1]}")
        assert run.json("serve", "create", "repeated")["name"] == "repeated"
        thread.join(10)
    assert len(keys) == 2
    assert keys[0] == keys[1] != []


def test_names_are_completed(run: Shell, plane: ServedPlane) -> None:
    run("serve", "create", "completed")
    assert "completed" in completed("mlflow-kserve deployment status comp")
    assert completed("mlflow-kserve deployment status x --env lo") == ["local"]


def test_a_change_that_waits_for_a_second_person(run: Shell) -> None:
    run("environment", "create", "guarded", "--set", 'protection={"second_person": true}')
    begun = run(
        "deploy-model", "--serve-name", "held", "--model-uri", "models:/fraud/1", "--env", "guarded", "--wait", status=6
    )
    waiting = run.json("operation", "list", "--state", "WAITING", "--env", "guarded")[0]["id"]
    assert f"mlflow-kserve operation approve {waiting}" in begun.err
    assert "another person" in run("operation", "approve", waiting, status=3).err
    assert run.json("operation", "reject", waiting, "--reason", "not today")["state"] == "ABORTED"
    assert run.json("operation", "get", waiting, status=1)["message"].endswith(": not today")
