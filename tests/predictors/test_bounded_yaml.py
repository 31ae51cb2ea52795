"""YAML files of models that ask for much."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

LEVELS = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10))
MERGES = "\n".join(f"m{i}: &m{i} {{k{i}: 1, <<: [{', '.join([f'*m{i - 1}'] * 10)}]}}" for i in range(1, 10))
BOMBS = {
    "aliases": f"l0: &l0 [x, y]\n{LEVELS}\n",
    "merge keys": f"m0: &m0 {{k0: 1}}\n{MERGES}\n",
    "an alias of itself": "a: &a [*a]\n",
    "long texts": "t: &t " + "x" * 100_000 + "\nall: [" + ", ".join(["*t"] * 1000) + "]\n",
    "brackets": "a: " + "[" * 200_000 + "]" * 200_000 + "\n",
    "braces": "a: " + "{b: " * 100_000 + "\n",
}
MEMORY = 1024**3
CODE = """
import sys
from pathlib import Path
from predictors.environments.requirements import RequirementsError, read_yaml
from predictors.flavor import FlavorError, read_mlmodel
from predictors.storage.provenance import mlmodel_ids
from predictors.storage.source import REGISTERED_META, version_in

folder = Path(sys.argv[1])
try:
    read_mlmodel(folder)
except FlavorError as error:
    print(error)
try:
    read_yaml(folder / "MLmodel")
except RequirementsError as error:
    print(error)
print(mlmodel_ids(folder))
(folder / "MLmodel").rename(folder / REGISTERED_META)
print(version_in(folder))
"""


@pytest.mark.parametrize("bomb", BOMBS)
def test_they_are_refused(tmp_path: Path, bomb: str) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  sklearn: {}\nmodel_version: 1\n" + BOMBS[bomb])
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second, *nothing = done.stdout.splitlines()
    assert first.startswith(f"{tmp_path}/MLmodel cannot be read: ")
    assert second.startswith("MLmodel cannot be read: ")
    assert nothing == ["{}", "None"]


def test_few_aliases_are_read(tmp_path: Path) -> None:
    from predictors.flavor import read_mlmodel

    text = "common: &c {loader_module: mlflow.sklearn}\nflavors:\n  python_function: {<<: *c, data: m}\n  sklearn: *c\n"
    (tmp_path / "MLmodel").write_text(text)
    flavors = read_mlmodel(tmp_path).flavors
    assert flavors["python_function"] == {"loader_module": "mlflow.sklearn", "data": "m"}
    assert flavors["sklearn"] == {"loader_module": "mlflow.sklearn"}
