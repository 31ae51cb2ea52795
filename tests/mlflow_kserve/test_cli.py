"""The command `mlflow-kserve`: the control plane with `up`, and a server with anything else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from mlflow_kserve import cli


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """The status of the command, and what it wrote."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def test_the_script_is_this_command() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["mlflow-kserve"].partition(":")
    assert getattr(import_module(module), function) is cli.main


def test_help_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = ended(capsys, "--help")
    assert code == 0
    assert "up  start the control plane" in said
    assert "--model-uri" in said


def test_help_of_the_control_plane(capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = ended(capsys, "up", "--help")
    assert (code, "--serve-ports" in said, "--model-uri" in said) == (0, True, False)


def test_flags_of_the_server_are_the_servers(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = ended(capsys, "--http-port", "many")
    assert code == 2
    assert "--http-port" in said


def test_what_is_not_installed_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "alembic" else object())
    code, _, said = ended(capsys, "up")
    assert code == 2
    assert "not installed: alembic; pip install 'mlflow-kserve[controlplane]'" in said


def test_the_door_imports_nothing_that_it_does_not_start() -> None:
    """The server's start is no slower for the control plane."""
    code = (
        "import sys, mlflow_kserve.cli; print([name for name in ('controlplane', 'predictors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
