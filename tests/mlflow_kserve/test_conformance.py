"""`mlflow-kserve conformance URL`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_kserve.cli import conformance
from tests.mlflow_kserve.commands import Shell
from tests.serving import Running, in_thread

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with in_thread(None, model_name="machines") as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlflow_kserve", "conformance", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_server_passes_by_its_address_alone(server: Running) -> None:
    done = suite(server.url, "--", "-k", "test_model_metadata or test_server_metadata")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_a_model_that_is_not_there_fails(server: Running) -> None:
    assert suite(server.url, "--model", "nobody", "--", "-x", "-k", "test_model_metadata").returncode == 1


def test_what_the_suite_needs_is_named(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing answers at http://127.0.0.1:9" in run("conformance", "http://127.0.0.1:9", status=5).err
    assert "is not a URL" in run("conformance", "127.0.0.1:8080", status=2).err
    monkeypatch.setattr(conformance, "find_spec", lambda name: None)
    said = run("conformance", "http://127.0.0.1:9", status=2).err
    assert "not installed: pytest, httpx; pip install 'mlflow-kserve[conformance]'" in said


def test_the_suite_comes_with_the_package() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"tests/conformance": "mlflow_kserve/conformance"}
    package = Path(conformance.__file__).parents[1]
    assert conformance.suite() in (package / "conformance", package.parent / "tests" / "conformance")
