"""What the pages say is what happens: every example is run, every link leads somewhere, every table is current."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from predictors.features.demo import build
from predictors.storage.failures import StorageError
from predictors.telemetry.metrics import metrics
from tests.serving import Running, in_thread
from tools.demo_feast import log_model
from tools.settings_page import PAGES as TABLES
from tools.settings_page import page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ASKED = {"features.md": "rides"}
"""Pages whose examples are not for the demo model."""
CURL = re.compile(r"```bash\n(curl [^`]*?)```\n\n```json\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n(# tried\n.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with in_thread(None) as running:
        yield running


@pytest.fixture(scope="module")
def rides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What `make demo-feast` serves."""
    folder = tmp_path_factory.mktemp("rides")
    repository = build(folder / "feast")
    with in_thread(
        log_model(folder / "model"), model_name="rides", model_version="1", feast_repo_path=str(repository)
    ) as running:
        yield running


def here(text: str, server: Running) -> str:
    return (
        text.replace("http://localhost:8080", server.url)
        .replace("localhost:8080", server.url[7:])
        .replace("localhost:8081", server.grpc)
    )


def answer(command: str, server: Running) -> str:
    done = subprocess.run(
        ["bash", "-c", here(command, server).replace("curl ", "curl -sS ", 1)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert not done.stderr, done.stderr
    return done.stdout


def rounded(value: Any) -> Any:
    """Another processor may differ in the last digit."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 9) if isinstance(value, float) else value


@pytest.mark.parametrize("file", [file for file in PAGES if CURL.search(file.read_text())], ids=lambda file: file.name)
def test_the_replies_are_the_real_ones(file: Path, request: pytest.FixtureRequest) -> None:
    server: Running = request.getfixturevalue(ASKED.get(file.name, "server"))
    text = file.read_text()
    if request.config.getoption("--write-docs"):
        file.write_text(
            CURL.sub(lambda match: f"```bash\n{match[1]}```\n\n```json\n{answer(match[1], server)}\n```", text)
        )
        text = file.read_text()
    for command, reply in CURL.findall(text):
        assert rounded(json.loads(answer(command, server))) == rounded(json.loads(reply)), command


@pytest.mark.parametrize(
    "file", [file for file in PAGES if PYTHON.search(file.read_text())], ids=lambda file: file.name
)
def test_the_python_examples_run(server: Running, file: Path) -> None:
    for code in PYTHON.findall(file.read_text()):
        done = subprocess.run([sys.executable, "-c", here(code, server)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text()):
        assert (file.parent / target).exists(), target


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.name)
def test_the_tables_of_settings_are_current(file: Path, request: pytest.FixtureRequest) -> None:
    text = file.read_text()
    if request.config.getoption("--write-docs"):
        file.write_text(page(text, TABLES[file]))
    assert file.read_text() == page(text, TABLES[file]), "run: python -m tools.settings_page"


def test_the_table_of_exit_codes_is_complete() -> None:
    text = (ROOT / "docs" / "storage.md").read_text()
    for kind in StorageError.__subclasses__():
        assert f"| {kind.code} | `{kind.__name__}`: " in text


def test_the_table_of_metrics_is_complete() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    for metric in vars(metrics()).values():
        name = metric._name + ("_total" if metric._type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        assert f"| `{name}` | {metric._type} | {labels} |" in text
