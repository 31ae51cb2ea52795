"""Model files that are cut off: each is an error of the model, and never one that ends the process."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import spawner
from tests.attack.load_in_forks import NOTHING
from tests.serving import process

FORMATS = (
    *("sklearn-logistic", "sklearn-pickle", "xgboost-booster", "xgboost-booster-json", "xgboost-classifier"),
    *("lightgbm-categories", "lightgbm-classifier", "catboost-classifier", "catboost-regressor-json"),
    *("pytorch-pt2", "pytorch-pickle", "pytorch-torchscript", "keras-file", "keras-h5", "tensorflow-saved-model"),
    *("transformers-text-classification", "onnx-classifier", "pyfunc-pickled", "statsmodels"),
)
"""Models of the zoo: at least one for each format of files."""
NO_MODEL = re.compile(
    r"MLmodel|conda.yaml|python_env.yaml|requirements.txt|.*input_example.*|LICENSE.*|README.*|.*\.py"
)
CUTS: dict[str, Callable[[int], int]] = {"half": lambda size: size // 2, "most": lambda size: size - 100}
# What a library does not miss: files that nobody reads, and what comes after the model.
HARMLESS: set[str] = set()


def cut_off(model: Path, folder: Path) -> Iterator[Path]:
    """Copies of a model, each with one file that is cut off."""
    for file in sorted(path for path in model.rglob("*") if path.is_file() and path.stat().st_size > 200):
        if NO_MODEL.fullmatch(file.name):
            continue
        for name, length in CUTS.items():
            copy = folder / f"{name}-of-{file.name}"
            shutil.copytree(model, copy)
            os.truncate(copy / file.relative_to(model), length(file.stat().st_size))
            yield copy


@pytest.mark.parametrize("model", FORMATS)
def test_a_file_that_is_cut_off(zoo: Callable[[str], Path], tmp_path: Path, model: str) -> None:
    copies = list(cut_off(zoo(model), tmp_path))
    assert copies
    printed = tmp_path / "printed"
    with printed.open("wb") as output:
        folders = map(str, (zoo(model), *copies))
        code = spawner.start("tests.attack.load_in_forks", *folders, output=output).wait(300)
    assert code == 0, printed.read_text()
    results = json.loads(next(line for line in printed.read_text().splitlines() if line.startswith("{")))
    assert set(results) == {copy.name for copy in copies}
    for name, (status, message) in results.items():
        assert status == 0, f"{name}: the process ended with {status}"
        if f"{model}: {name}" not in HARMLESS:
            assert re.match("LoadError|FlavorError", message), f"{name}: {message or NOTHING}"
            assert "Traceback" not in message


def test_the_start_with_a_lightgbm_model_that_is_cut_off(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    """The library would end the process itself, without a word about the file."""
    copy = next(copy for copy in cut_off(zoo("lightgbm-categories"), tmp_path) if copy.name == "half-of-model.lgb")
    with process(tmp_path, "--model-uri", str(copy), ready=False) as server:
        assert server.process.wait(60) == 1
        line = server.log.splitlines()[-1]
    assert f"ERROR predictors: the LightGBM model {copy}/model.lgb is cut off: its trees take " in line
