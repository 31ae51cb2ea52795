"""`mlflow-kserve` itself, and the programs that it starts."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from mlflow_kserve.cli import main, programs
from mlflow_kserve.cli.main import SECTIONS, command
from tests.mlflow_kserve.commands import Shell, completed

ROOT = Path(__file__).parents[2]
HEAVY = (
    "predictors", "generator", "monitoring", "controlplane", "loadtest", "mlflow", "kserve", "httpx", "requests", "yaml",
    "pydantic", "numpy", "pandas", "asyncio",
)  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_the_script_is_this_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["mlflow-kserve"].partition(":")
    assert getattr(import_module(module), function) is main


def test_version(run: Shell) -> None:
    assert run("--version").out == f"mlflow-kserve {version('mlflow-kserve')}\n"


def test_help_lists_every_command(run: Shell) -> None:
    said = run("--help").out
    assert [name for entries in SECTIONS.values() for name in entries if f"\n  {name} " not in said] == []


def everything(group: click.Command, context: click.Context, *path: str) -> list[tuple[str, ...]]:
    if not isinstance(group, click.Group):
        return [path]
    found = []
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        assert below is not None, (*path, name)
        found += everything(below, context, *path, name)
    return found


@pytest.mark.parametrize("path", everything(command, click.Context(command)), ids=" ".join)
def test_every_command_has_help(run: Shell, path: tuple[str, ...]) -> None:
    assert run(*path, "--help").out


@pytest.mark.parametrize(
    ("program", "known"),
    [("serve", "--model-uri"), ("generate", "promote"), ("monitor", "render"), ("load", "capacity"), ("up", "--data")],
)
def test_programs_have_the_name_of_their_command(run: Shell, program: str, known: str) -> None:
    said = run(program, "--help").out
    assert known in said
    assert f"mlflow-kserve {program}" in said
    assert "python -m" not in said


def test_arguments_are_the_programs(run: Shell) -> None:
    said = run("generate", "--model", "models:/fraud/7", "--name", "fraud", "--flavor", "sklearn").out
    assert "kind: InferenceService" in said
    assert "mlflow-kserve generate" not in run("generate", "rendr", status=2).out


@pytest.mark.parametrize(
    "arguments", [("--http-port", "many"), ("serve", "--http-port", "many"), ("serve", "--port=many")]
)
def test_flags_alone_are_the_servers(run: Shell, arguments: tuple[str, ...]) -> None:
    assert "http-port: 'many'" in run(*arguments, status=2).err


@pytest.mark.parametrize(
    "flags",
    [
        "--model-uri {model} --env-manager local --host 127.0.0.1 --port many --log-level info",  # mlflow-adsp
        "--model-uri {model} --model-name predictive_maintenance --model-version 1.0 --host 0.0.0.0 --port many",
    ],
)
def test_flags_of_other_servers_are_understood(run: Shell, flags: str) -> None:
    """They are all read: only the port is no number here, so that nothing is started."""
    assert "http-port: 'many' is not usable" in run("serve", *flags.format(model="models:/m/1").split(), status=2).err


def test_a_misspelt_command_is_told_what_was_meant(run: Shell) -> None:
    assert "no command 'deploy-modle': did you mean deploy-model?" in run("deploy-modle", status=2).err


def test_what_is_not_installed_is_named(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "alembic" else object())
    assert "not installed: alembic; pip install 'mlflow-kserve[controlplane]'" in run("up", status=2).err


@pytest.mark.parametrize("argument", ["--version", "--help", "deploy-model --help", "completion zsh"])
def test_nothing_heavy_is_imported_to_start(argument: str) -> None:
    """The command answers at once, and a server starts no slower for the other commands."""
    code = (
        "import json, sys\nfrom mlflow_kserve.cli import main\ntry:\n    main(sys.argv[1:])\n"
        f"finally:\n    print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argument.split()], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(run: Shell, shell: str) -> None:
    assert "_MLFLOW_KSERVE_COMPLETE" in run("completion", shell).out


def test_commands_and_flags_are_completed() -> None:
    assert {"deploy-model", "deploy-artifact", "deployment"} == set(completed("mlflow-kserve dep"))


def test_programs_start_where_folders_have_their_names(tmp_path: Path) -> None:
    for name in ("predictors", "generator", "monitoring", "loadtest"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise AssertionError('this is not ours')")
    script = Path(sys.executable).parent / "mlflow-kserve"
    for program in ("serve", "generate", "monitor", "load"):
        done = subprocess.run([script, program, "--help"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
