"""What holds for the whole repository."""

from __future__ import annotations

import ast
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
