"""What holds for the whole repository."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("predictors", "generator", "monitoring", "controlplane", "mlflow_kserve", "loadtest", "tools", "tests")


def test_one_name_is_one_class() -> None:
    """A class of a module has a name of its own, so that whoever reads or searches for it finds one thing."""
    homes: dict[str, list[str]] = defaultdict(list)
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for statement in ast.parse(file.read_text()).body:
                if isinstance(statement, ast.ClassDef):
                    homes[statement.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_tests_can_be_listed() -> None:
    """kserve parses the command line when it is imported, and pytest's `--co` would begin one of its flags."""
    command = [sys.executable, "-m", "pytest", "tests/attack/test_hpack.py", "--co", "-q"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
