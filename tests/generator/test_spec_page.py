"""What the page on spec files says is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from generator.cli.main import main
from tools.spec_page import PAGE, page

TEXT = PAGE.read_text()
GENERATOR = PAGE.with_name("generator.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(# serve.yaml\n.*?)```", TEXT + GENERATOR, re.DOTALL)
WRONG = """\
name: fraud
model: models:/fraud/3
flavor: sklearn
namspace: ml
environments:
  prod:
    replicas: {max: 0}

batcher: {}
"""


def test_the_tables_are_current(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-docs"):
        PAGE.write_text(page(PAGE.read_text()))
    assert page(PAGE.read_text()) == PAGE.read_text(), "run: python tools/spec_page.py"


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_are_valid(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text(EXAMPLES[number] + "\nflavor: sklearn\n")
    assert main(["validate", "serve.yaml"]) == 0, capsys.readouterr().out


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2


def test_what_validate_is_said_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text(WRONG)
    assert main(["validate", "serve.yaml"]) == 1
    assert f"```text\n{capsys.readouterr().out}```" in TEXT


def test_the_flags_that_are_shown_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    monkeypatch.chdir(tmp_path)
    Path("serve.yaml").write_text(EXAMPLES[0])
    shown = re.search(r"## Flags.*?```bash\n(.*?)```", TEXT, re.DOTALL)
    assert shown
    for line in shown[1].replace("\\\n", "").strip().splitlines():
        assert main([*shlex.split(line)[3:], "--flavor", "sklearn"]) == 0, capsys.readouterr().err
