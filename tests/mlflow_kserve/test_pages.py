"""The pages about the command and other platforms: every example is run, every test that is named is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.mlflow_kserve.commands import Shell
from tests.mlflow_kserve.served_plane import ServedPlane

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"<!-- run -->\n```sh\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
NAMED = re.compile(r"`(tests/\S+?\.py)::(\w+)`")


def test_the_examples_of_the_command_say_what_is_shown(
    capsys: pytest.CaptureFixture[str], plane: ServedPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_KSERVE_API_URL", plane.url)
    plane.backend.address = "http://127.0.0.1:20000"
    run = Shell(capsys)
    examples = EXAMPLE.findall((ROOT / "docs" / "command.md").read_text())
    assert len(examples) > 4
    for commands, shown in examples:
        for line in commands.splitlines():
            command, _, otherwise = line.partition(" || ")
            status = int(shown.split()[-1]) if otherwise else 0
            ended = run(*shlex.split(command)[1:], status=status)
        text = f"exit code {ended.status}\n" if otherwise else ended.out
        # Replies in YAML and JSON are shown to the point that matters.
        assert TIME.sub("TIME", text).startswith(TIME.sub("TIME", shown)), command


@pytest.mark.parametrize("page", ["migrate-platforms.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    named = NAMED.findall((ROOT / "docs" / page).read_text())
    assert named
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []
