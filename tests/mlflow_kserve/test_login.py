"""`login` and `configure`: which control plane, and as whom."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from controlplane.access.settings import ControlAccessSettings
from mlflow_kserve.client.login import ENV, TOKEN_FILE, URL, Login, keep, kept_login, login_file
from mlflow_kserve.client.login import TOKEN as TOKEN_OF
from predictors.pipeline.settings import Settings
from predictors.settings.declare import env_of
from tests.mlflow_kserve.commands import Shell
from tests.mlflow_kserve.served_plane import ServedPlane, served_plane

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPlane]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "tokens").write_text(f"{TOKEN}\n")
    with served_plane(folder, ControlAccessSettings(str(folder / "tokens"))) as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_a_login_is_kept_for_this_person_alone(
    run: Shell, guarded: ServedPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\n"))
    run("login", guarded.url, "--env", "local")
    assert kept_login() == Login(guarded.url, TOKEN, "local")
    assert login_file().stat().st_mode & 0o777 == 0o600
    assert run.json("environment", "get", "local")["name"] == "local"
    run("login", guarded.url)  # the kept token is good for it
    assert kept_login().token == TOKEN


def test_a_login_that_is_not_let_in_is_not_kept(run: Shell, guarded: ServedPlane, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("another")
    assert "the token is not known" in run("login", guarded.url, "--token-file", wrong, status=3).err
    assert not login_file().exists()
    assert "cannot be read" in run("login", guarded.url, "--token-file", tmp_path / "no-file", status=2).err


def test_a_kept_token_goes_to_its_control_plane_alone(run: Shell, guarded: ServedPlane, plane: ServedPlane) -> None:
    keep(Login(plane.url, TOKEN))
    assert run("serve", "list", "--url", guarded.url, status=3).err.startswith("error: ")
    keep(Login(guarded.url, TOKEN))
    run("serve", "list", "--url", guarded.url)


def test_variables_win(run: Shell, guarded: ServedPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keep(Login(guarded.url, "old"))
    monkeypatch.setenv("MLFLOW_KSERVE_API_TOKEN", TOKEN)
    run("serve", "list")
    monkeypatch.delenv("MLFLOW_KSERVE_API_TOKEN")
    file = tmp_path / "token"
    file.write_text(TOKEN)
    monkeypatch.setenv("MLFLOW_KSERVE_API_TOKEN_FILE", str(file))
    run("serve", "list")


def test_no_variable_is_one_of_the_servers() -> None:
    settings = {name for field in fields(Settings) for name in env_of(field)}
    assert settings.isdisjoint((URL, TOKEN_OF, TOKEN_FILE, ENV))


def test_configure_keeps_a_token(run: Shell, guarded: ServedPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("configure", "--token", TOKEN, "--url", guarded.url).err == ""
    run("serve", "list")
    assert "not encrypted" in run("configure", "--token", TOKEN, "--url", "http://models.example.com").err
    run("configure", "--token", TOKEN, "--url", guarded.url)
    monkeypatch.setenv("HERMES_USER_TOKEN", "another")
    run("configure")
    assert kept_login() == Login(guarded.url, "another")


def test_tokens(run: Shell, guarded: ServedPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Login(guarded.url, TOKEN))
    made = run.json("token", "create", "ci", "--role", "local=deployer", "--role", "*=viewer", "--days", 1)
    assert made["roles"] == {"local": "deployer", "*": "viewer"}
    assert "ci" in run("token", "list").out
    rotated = run.json("token", "rotate", "ci")["token"]
    assert rotated != made["token"]
    monkeypatch.setenv("MLFLOW_KSERVE_API_TOKEN", rotated)
    assert "is not admin" in run("token", "delete", "ci", status=3).err
    monkeypatch.delenv("MLFLOW_KSERVE_API_TOKEN")
    run("token", "delete", "ci")


def test_a_login_that_cannot_be_read_is_named(run: Shell, plane: ServedPlane) -> None:
    login_file().parent.mkdir(parents=True)
    login_file().write_text("{")
    for command in (("serve", "list"), ("deployment", "status", "x"), ("get-serve-status", "--serve-name", "x")):
        assert "login.json cannot be used" in run(*command, status=2).err
    run("login", plane.url)
    run("serve", "list")
