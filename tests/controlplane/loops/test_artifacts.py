"""Artifacts from git repositories: fetched once, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controlplane.backends.git import environ, fetch
from controlplane.loops import artifacts as module
from tests.controlplane.plane import Plane

FIRST = {"serve_name": "my-model-serve", "version": "v1.0.0", "branch": "main"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a model in a folder, and a branch without one."""
    folder = tmp_path / "my-model"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "MLmodel").write_text("flavors: {python_function: {}}\n")
    (folder / "outside").symlink_to(tmp_path)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "a model"], ["branch", "other"]):
        subprocess.run([*git, *command], check=True)
    return folder


@pytest.fixture
def serving(plane: Plane) -> Plane:
    plane.post("/serve", {"name": "my-model-serve"}, 201)
    return plane


def job(plane: Plane, body: dict[str, Any]) -> Any:
    """The job of an artifact, once it has ended."""
    made = plane.post("/artifact", body, 201)
    assert made["status"] == "PENDING"
    plane.artifacts.fetch_all()
    return plane.get(f"/artifact_builder_job/{made['job_id']}/status")


def test_a_repository_becomes_an_artifact_and_is_deployed(serving: Plane, repository: Path) -> None:
    body = {**FIRST, "github_repo_url": f"file://{repository}", "path": "model"}
    deploy = {"env": "local", "artifact_version": "v1.0.0"}
    made = serving.post("/artifact", body, 201)
    assert "its job is PENDING" in serving.post("/serve/my-model-serve/deploy", deploy, 409)["detail"]
    assert serving.post("/artifact", body, 201)["job_id"] == made["job_id"]
    serving.post("/artifact", {**body, "branch": "other"}, 409)
    serving.artifacts.fetch_all()
    ended = serving.get(f"/artifact_builder_job/{made['job_id']}")
    commit = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert (ended["status"], ended["commit"]) == ("SUCCESSFUL", commit.strip())
    uri = serving.get("/artifact/my-model-serve/v1.0.0")["model_uri"]
    assert (Path(uri) / "MLmodel").is_file()
    serving.post("/serve/my-model-serve/deploy", deploy)
    serving.settle()
    assert serving.status("my-model-serve")["model_uri"] == uri
    jobs = serving.get("/artifact_builder_job?status=SUCCESSFUL")["items"]
    assert [each["job_id"] for each in jobs] == [made["job_id"]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"branch": "none"}, "none not found"),
        ({"path": "nowhere"}, "has no file MLmodel"),
        ({"path": "outside"}, "leads out of the repository"),
        ({"github_repo_url": "file:///nowhere"}, "/nowhere"),
        ({"git_token": {"secret": "git", "key": "token"}}, "there is no secret git with the key token"),
    ],
    ids=str,
)
def test_a_job_that_fails_says_why_and_may_be_repeated(
    serving: Plane, repository: Path, fields: dict[str, Any], message: str
) -> None:
    body = {**FIRST, "github_repo_url": f"file://{repository}", "path": "model"}
    ended = job(serving, {**body, **fields})
    assert ended["status"] == "FAILED"
    assert message in ended["message"]
    assert serving.send("GET", "/artifact/my-model-serve/v1.0.0").status_code == 404
    assert job(serving, body)["status"] == "SUCCESSFUL"


def test_a_job_that_was_cut_off_is_begun_again(
    serving: Plane, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*arguments: Any) -> str:
        fetch(*arguments)
        raise SystemExit("killed")

    monkeypatch.setattr(module, "fetch", cut_off)
    made = serving.post("/artifact", {**FIRST, "github_repo_url": f"file://{repository}", "path": "model"}, 201)
    with pytest.raises(SystemExit):
        serving.artifacts.fetch_all()
    assert serving.get(f"/artifact_builder_job/{made['job_id']}")["status"] == "RUNNING"
    monkeypatch.undo()
    serving.artifacts.fetch_all()
    assert serving.get(f"/artifact_builder_job/{made['job_id']}")["status"] == "SUCCESSFUL"
    assert [each.name for each in (tmp_path / "artifacts" / "my-model-serve").iterdir()] == ["v1.0.0"]
    shutil.rmtree(tmp_path / "artifacts")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model_uri": "/a", "github_repo_url": "https://github.com/myorg/my-model"},
        {"github_repo_url": "ext::sh -c touch% /tmp/x"},
        {"github_repo_url": "--upload-pack=touch"},
        {"github_repo_url": "https://me:secret@github.com/a"},
        {"github_repo_url": "https://github.com/a", "branch": "--orphan"},
        {"github_repo_url": "https://github.com/a", "path": "../.."},
        {"github_repo_url": "https://github.com/a", "path": "/etc"},
    ],
    ids=str,
)
def test_sources_that_are_none(serving: Plane, fields: dict[str, Any]) -> None:
    problem = serving.post("/artifact", {"serve_name": "my-model-serve", "version": "v1", **fields}, 422)
    assert problem["errors"]
    assert "secret@" not in str(problem)


def test_a_token_is_in_no_argument() -> None:
    variables = environ("hunter2")
    assert variables["GIT_CONFIG_KEY_0"] == "http.extraHeader"
    assert variables["GIT_ALLOW_PROTOCOL"] == "https:http:ssh:git:file"
    assert "GIT_CONFIG_KEY_0" not in environ(None)
