"""Each flavor: what is detected, which methods its models have, what they answer, and what is safe to load."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from predictors.flavor import FlavorError, MLmodel, image_of, read_mlmodel
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.open_model import open_model
from predictors.pipeline.settings import Settings
from predictors.storage.source import resolve
from tests.predictors.parity import cell, records
from tests.serving import in_thread
from tests.zoo import CASES, ZooModel

PARAMETERS = [pytest.param(case, id=case.id, marks=[pytest.mark.slow] * case.slow) for case in CASES]
NATIVE = [
    case
    for case in CASES
    if "predict_proba" in case.methods and case.flavor in ("sklearn", "xgboost", "lightgbm", "catboost")
]


@pytest.mark.parametrize("case", PARAMETERS)
def test_flavor_methods_and_safety(case: ZooModel, zoo: Callable[[str], Path]) -> None:
    folder = zoo(case.id)
    assert read_mlmodel(folder).detect().name == case.flavor
    model = opened(folder)
    assert model.load()
    loaded = model.require_loaded()
    assert set(loaded.methods) - {"predict"} == set(case.methods)
    assert (loaded.native.probabilities is not None) == case.probabilities
    strict = opened(folder, allow_code_execution=False)
    if case.safe:
        assert strict.load()
    else:
        with pytest.raises(LoadError, match="--allow-code-execution|--skops-trusted"):
            strict.load()


def opened(folder: Path, **settings: Any) -> MLflowModel:
    server_settings = Settings(model_uri=str(folder), **settings)
    return open_model(server_settings, resolve(server_settings))


@pytest.mark.parametrize("case", NATIVE, ids=lambda case: case.id)
def test_predict_proba_is_the_frameworks_own(case: ZooModel, zoo: Callable[[str], Path]) -> None:
    folder, sample = zoo(case.id), case.sample()
    native = getattr(mlflow, case.flavor).load_model(str(folder))
    expected = expected_probabilities(native, sample, case)
    instances = cell(sample) if isinstance(sample, np.ndarray) else records(sample)
    with in_thread(folder, model_name="m") as server:
        asked = server.predict({"instances": instances, "parameters": {"method": "predict_proba"}})
        plain = server.predict({"instances": instances})
    assert asked.json()["predictions"] == cell(expected)
    assert plain.json().get("probabilities") == (cell(expected) if case.probabilities else None)


def expected_probabilities(native: Any, sample: Any, case: ZooModel) -> Any:
    if "categories" in case.id:
        sample = sample.astype({"city": "category"})
    if hasattr(native, "predict_proba"):
        return native.predict_proba(sample)
    if case.flavor == "xgboost":
        import xgboost

        sample = xgboost.DMatrix(sample)
    predictions = native.predict(sample)
    return predictions if predictions.ndim == 2 else np.vstack((1 - predictions, predictions)).T


@pytest.mark.parametrize(
    ("flavors", "expected"),
    [
        (["python_function", "sklearn", "xgboost"], "xgboost"),
        (["catboost", "lightgbm", "sklearn"], "lightgbm"),
        (["pytorch", "sklearn", "python_function"], "sklearn"),
        (["tensorflow", "pytorch"], "pytorch"),
        (["keras", "python_function"], "tensorflow"),
        (["onnx", "python_function"], "onnx"),
        (["prophet", "python_function"], "pyfunc"),
    ],
)
def test_order_of_detection(flavors: list[str], expected: str) -> None:
    model = MLmodel(Path("/model"), {"flavors": {name: {} for name in flavors}})
    assert model.detect().name == expected


def test_a_flavor_that_cannot_be_served_is_named() -> None:
    with pytest.raises(FlavorError, match="found: crate"):
        MLmodel(Path("/model"), {"flavors": {"crate": {}}}).detect()


def test_images_are_named_in_one_place() -> None:
    assert image_of("xgboost", registry="example.org/ml", tag="1.2") == "example.org/ml/predictor-boosting:1.2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no file named MLmodel"),
        ("a: [", "cannot be read"),
        ("run_id: x", "has no 'flavors'"),
        ("utc_time_created: 2024-13-45", "cannot be read: month must be in 1..12"),
        ("x: " + "1" * 6000, "cannot be read: Exceeds the limit"),
        ("x: " + "[" * 5000, "cannot be read: its brackets are nested more than 100 deep"),
        ("flavors: {sklearn: }", "expected a mapping under 'flavors.sklearn'"),
        ("flavors: {1: {}}", "expected a mapping under 'flavors.1'"),
    ],
)
def test_folders_that_are_no_model(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(FlavorError, match=message):
        read_mlmodel(tmp_path)


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "MLmodel")
    with pytest.raises(FlavorError, match="MLmodel is not a file"):
        read_mlmodel(tmp_path)


def test_a_forced_flavor_must_be_there(zoo: Callable[[str], Path]) -> None:
    with pytest.raises(FlavorError, match="has no onnx flavor"):
        opened(zoo("sklearn-logistic"), flavor="onnx")


def test_every_model_with_pyfunc_can_be_forced_to_it(zoo: Callable[[str], Path]) -> None:
    with in_thread(zoo("sklearn-logistic"), model_name="m", flavor="pyfunc") as server:
        assert server.get("/v2/models/m").json()["platform"] == "mlflow_pyfunc"
        assert server.predict({"instances": [[1.0, 1.0, 0.0, 0.0]]}).json()["predictions"] == [1]
