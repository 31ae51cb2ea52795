"""Models trained with categories: each value gets the answer of its own category, or the request is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow.lightgbm
import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.models import infer_signature

from predictors.flavor import read_mlmodel
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.open_model import model_class
from predictors.model.settings import ModelSettings
from predictors.model.xgboost_categories import column_of
from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput
from tests.serving import in_thread
from tests.zoo.case import PIP

CITIES = ["Ulm", "Bonn", "007"]
UNSEEN = "Rom"
"""XGBoost 3.2 itself gives it the answer of Ulm."""
Fitted = tuple[Any, pd.DataFrame]


def training(categories: list[Any]) -> tuple[pd.DataFrame, Any]:
    """A target that tells the categories apart."""
    random = np.random.default_rng(0)
    data = pd.DataFrame({"x": random.normal(size=300)})
    data["kind"] = pd.Categorical(random.choice(np.array(categories, dtype=object), 300), categories=categories)
    return data, data.kind.cat.codes * 10.0 + data.x


def booster(folder: Path, categories: list[Any], **options: Any) -> None:
    data, target = training(categories)
    model = xgboost.train({"seed": 0}, xgboost.DMatrix(data, target, enable_categorical=True), 20)
    mlflow.xgboost.save_model(model, folder, **PIP, **{"signature": infer_signature(data), **options})


def wrapper(folder: Path, categories: list[Any], **options: Any) -> None:
    data, target = training(categories)
    model = xgboost.XGBRegressor(n_estimators=20, enable_categorical=True).fit(data, target)
    mlflow.xgboost.save_model(model, folder, **PIP, **{"signature": infer_signature(data), **options})


def light(folder: Path, categories: list[Any], **options: Any) -> None:
    data, target = training(categories)
    data = data.assign(constant=pd.Categorical(["k"] * len(data)))
    model = lightgbm.train({"verbose": -1, "min_data_per_group": 1}, lightgbm.Dataset(data, target), 20)
    mlflow.lightgbm.save_model(model, folder, **PIP, **{"signature": infer_signature(data), **options})


def light_wrapper(folder: Path, categories: list[Any]) -> None:
    data, target = training(categories)
    data = data.assign(constant=pd.Categorical(["k"] * len(data)))
    model = lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, min_data_per_group=1).fit(data, target)
    mlflow.lightgbm.save_model(model, folder, signature=infer_signature(data), **PIP)


def loaded(folder: Path, **settings: Any) -> MLflowModel:
    flavor = read_mlmodel(folder).detect().name
    model: MLflowModel = model_class(flavor)("model", str(folder), settings=ModelSettings(**settings))
    model.load()
    return model


def predict(model: MLflowModel, kinds: list[Any], method: str = "predict") -> Any:
    columns: dict[str, Any] = {"kind": kinds, "x": [0.0] * len(kinds), "constant": ["k"] * len(kinds)}
    if model.flavor == "xgboost":
        del columns["constant"]
    return model.predict_batch(model.require_loaded(), Batch(columns=columns, method=method)).result


SAVES = pytest.mark.parametrize("save", [booster, wrapper, light, light_wrapper])


@SAVES
@pytest.mark.parametrize("categories", [CITIES, [1, 2, 3], [30, 10, 20]], ids=["text", "near codes", "integers"])
def test_each_category_has_its_answer(save: Callable[..., None], categories: list[Any], tmp_path: Path) -> None:
    save(tmp_path / "model", categories)
    model = loaded(tmp_path / "model")
    together = predict(model, categories)
    assert np.round(together / 10).tolist() == [0, 1, 2]
    for category, answer in zip(categories, together, strict=True):
        assert predict(model, [category]).tolist() == [answer]
    assert predict(model, categories[::-1]).tolist() == together[::-1].tolist()


@pytest.mark.parametrize("model_format", ["json", "ubj"])
def test_answers_are_those_of_xgboost_for_its_own_categories(model_format: str, tmp_path: Path) -> None:
    wrapper(tmp_path / "model", CITIES, model_format=model_format)
    model = loaded(tmp_path / "model")
    rows = pd.DataFrame({"x": 0.0, "kind": pd.Categorical([*CITIES, None], categories=CITIES)})
    raw = mlflow.xgboost.load_model(str(tmp_path / "model"))
    assert predict(model, [*CITIES, None]).tolist() == raw.predict(rows).tolist()
    assert predict(model, [*CITIES, None], "apply").tolist() == raw.apply(rows).tolist()


@SAVES
def test_an_unseen_category_is_refused(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "model", CITIES)
    words = (
        f"input 'kind', row 1: the model was not trained with the category '{UNSEEN}' (expected 'Ulm', 'Bonn', '007')"
    )
    model = loaded(tmp_path / "model")
    with pytest.raises(InvalidInput) as refused:
        predict(model, ["Ulm", UNSEEN])
    assert str(refused.value) == words
    for near in ("Ul", "Bönn", "ulm", ""):
        with pytest.raises(InvalidInput, match="the model was not trained with the category"):
            predict(model, [near])


@SAVES
def test_an_unseen_category_as_a_missing_one(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "model", CITIES)
    model = loaded(tmp_path / "model", unseen_category="missing")
    assert predict(model, ["Bonn", UNSEEN]).tolist() == predict(model, ["Bonn", None]).tolist()


@SAVES
def test_an_unseen_category_as_the_library_has_it(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "model", CITIES)
    model = loaded(tmp_path / "model", unseen_category="native")
    known = predict(model, CITIES)
    assert np.round(known / 10).tolist() == [0, 1, 2]
    same = [known[0]] if model.flavor == "xgboost" else predict(model, [None]).tolist()
    assert predict(model, [UNSEEN]).tolist() == same


def test_integers_beside_categories_keep_the_library(tmp_path: Path) -> None:
    """No engine computes from numbers that are categories."""
    wrapper(tmp_path / "model", [1, 2, 3])
    choice = loaded(tmp_path / "model", unseen_category="missing").require_loaded().choice
    assert (choice.name, choice.reasons.get("xgboost")) == ("native", "it has categories")


@pytest.mark.parametrize("save", [booster, wrapper])
def test_names_that_are_not_ascii(save: Callable[..., None], tmp_path: Path) -> None:
    """XGBoost 3.2 stores as many bytes of all names as they have characters."""
    cities = ["Aue", "Köln", "Ulm", "Zürich"]
    save(tmp_path / "model", cities)
    model = loaded(tmp_path / "model")
    assert np.round(predict(model, cities[:3]) / 10).tolist() == [0, 1, 2]
    with pytest.raises(InvalidInput, match=r"does not hold its category's full name.*\('Zürich'\)"):
        predict(model, ["Zürich"])
    with pytest.raises(InvalidInput, match="not trained with the category 'Kölx'"):
        predict(model, ["Kölx"])
    with pytest.raises(InvalidInput, match="full name"):  # not even as a missing one: it may be known
        predict(loaded(tmp_path / "model", unseen_category="missing"), ["Zürich"])


def test_names_that_can_be_read_in_two_ways() -> None:
    """What both readings hold with different codes is in doubt; later versions store lengths in bytes."""
    encoded = {"offsets": [0, 2, 3, 4, 5], "values": list("é123".encode())}
    before, after = column_of(encoded, True), column_of(encoded, False)
    assert (before.codes, after.codes) == ({"é1": 0}, {"é": 0, "1": 1})
    for column in (before, after):
        assert any(cut.may_be("2") for cut in column.cut)


def without_categories(folder: Path) -> None:
    """The model as XGBoost before 3.1 has saved it."""
    file = folder / "model.json"
    model = json.loads(file.read_text())
    del model["learner"]["gradient_booster"]["model"]["cats"]
    file.write_text(json.dumps(model))


@pytest.mark.parametrize("save", [booster, wrapper])
def test_a_file_that_does_not_hold_the_categories(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "model", CITIES, model_format="json")
    without_categories(tmp_path / "model")
    with pytest.raises(LoadError, match="'kind' is a text column, but the model's file does not hold its categories"):
        loaded(tmp_path / "model")
    save(tmp_path / "unsigned", CITIES, model_format="json", signature=None)
    without_categories(tmp_path / "unsigned")
    model = loaded(tmp_path / "unsigned")
    with pytest.raises(InvalidInput, match="input 'kind': expected numbers, got a string: the model's file"):
        predict(model, ["Bonn"])
    assert np.round(predict(model, [0, 1, 2]) / 10).tolist() == [0, 1, 2]


def test_a_model_trained_with_codes(tmp_path: Path) -> None:
    """Its callers send codes: no names were ever known."""
    data, target = training(CITIES)
    codes = data.assign(kind=data.kind.cat.codes.astype(float))
    matrix = xgboost.DMatrix(codes, target, feature_types=["float", "c"], enable_categorical=True)
    mlflow.xgboost.save_model(
        xgboost.train({}, matrix, 20), tmp_path / "model", signature=infer_signature(codes), **PIP
    )
    model = loaded(tmp_path / "model")
    assert np.round(predict(model, [2.0, 0.0, 1.0]) / 10).tolist() == [2, 0, 1]


def test_without_a_signature(tmp_path: Path) -> None:
    for save in (booster, wrapper):
        save(tmp_path / save.__name__, CITIES, signature=None)
        model = loaded(tmp_path / save.__name__)
        assert np.round(predict(model, CITIES) / 10).tolist() == [0, 1, 2]
        rows = model.predict_batch(model.require_loaded(), Batch(rows=[[0.0, "Bonn"], [0.0, "Ulm"]])).result
        assert np.round(rows / 10).tolist() == [1, 0]


def test_callers_learn_the_value_and_the_log_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrapper(tmp_path / "model", CITIES)
    tensors = [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [0.0]},
        {"name": "kind", "shape": [1], "datatype": "BYTES", "data": [UNSEEN]},
    ]
    caplog.clear()
    with in_thread(tmp_path / "model") as server, caplog.at_level(logging.WARNING, "predictors"):
        for response in (
            server.predict({"instances": [{"x": 0.0, "kind": UNSEEN}]}),
            server.infer({"inputs": tensors}),
            server.post("/invocations", {"dataframe_records": [{"x": 0.0, "kind": UNSEEN}]}),
        ):
            assert (response.status_code, f"'{UNSEEN}' (expected 'Ulm', 'Bonn', '007')" in response.text) == (400, True)
        assert server.predict({"instances": [{"x": 0.0, "kind": None}]}).status_code == 200
    told = [record.getMessage() for record in caplog.records]
    assert told == ["input 'kind', row 0: the model was not trained with this category"]  # one line a minute
