"""Model files that are cut off: each is an error of the model, and never one that ends the process."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import spawner
from tests.attack.load_in_forks import NOTHING
from tests.serving import process

pytestmark = pytest.mark.slow
FORMATS = {
    "sklearn": ("sklearn-logistic", "sklearn-pickle", "pyfunc-pickled", "statsmodels"),
    "xgboost": ("xgboost-booster", "xgboost-booster-json", "xgboost-classifier"),
    "lightgbm": ("lightgbm-categories", "lightgbm-classifier"),
    "catboost": ("catboost-classifier", "catboost-regressor-json"),
    "torch": ("pytorch-pt2", "pytorch-pickle", "pytorch-torchscript", "transformers-text-classification"),
    "tensorflow": ("keras-file", "keras-h5", "tensorflow-saved-model"),
    "onnx": ("onnx-classifier",),
}
"""Models of the zoo, at least one for each format of files, by the libraries that one process imports for them."""
FAMILIES = {model: family for family, models in FORMATS.items() for model in models}
Result = tuple[int, str]
"""The exit status of the process that loaded a model, and its error."""
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


@pytest.fixture(scope="module")
def loads(
    zoo: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, dict[str, Result]]]:
    """What became of the copies of each model of a family, which one process loads."""

    @cache
    def of_family(family: str) -> dict[str, dict[str, Result]]:
        folder = tmp_path_factory.mktemp(family)
        models = FORMATS[family]
        copies = {model: list(cut_off(zoo(model), folder / model)) for model in models}
        printed = folder / "printed"
        with printed.open("wb") as output:
            arguments = [*map(zoo, models), "--", *(copy for model in models for copy in copies[model])]
            code = spawner.start("tests.attack.load_in_forks", *map(str, arguments), output=output).wait(280)
        assert code == 0, printed.read_text()
        results = json.loads(next(line for line in printed.read_text().splitlines() if line.startswith("{")))
        return {model: {copy.name: results[str(copy)] for copy in copies[model]} for model in models}

    return of_family


@pytest.mark.parametrize("model", FAMILIES)
def test_a_file_that_is_cut_off(loads: Callable[[str], dict[str, dict[str, Result]]], model: str) -> None:
    results = loads(FAMILIES[model])[model]
    assert results
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
