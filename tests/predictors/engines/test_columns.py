"""Engines of columns of several types: the very bits of the model over DataFrames, whatever the texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from mlflow.models import infer_signature
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from predictors.engines import timing
from predictors.model.base import MLflowModel
from predictors.model.loaded import Loaded
from predictors.model.open_model import open_model
from predictors.pipeline.settings import Settings
from predictors.protocol.batch import Batch
from predictors.protocol.casting import object_array
from predictors.signature.texts import compile_texts
from predictors.storage.source import resolve
from tests.predictors.engines.choosing import chosen
from tests.predictors.engines.tables import plan_of, table
from tests.predictors.parity import WAYS, assert_same
from tests.serving import in_thread

TEXTS = ["city", "street"]
NUMBERS = ["amount", "rate"]
DATA = table()
TWO = (DATA.amount + (DATA.city == "Ulm") > 0).astype(int).to_numpy()
THREE = np.digitize(DATA.amount + (DATA.street == "a"), [0, 1])
NUMBER = DATA.amount * 3 + (DATA.city == "Ulm")


def prepared(*parts: Any, **options: Any) -> ColumnTransformer:
    return make_column_transformer(*parts, **options)


ONE_HOT = OneHotEncoder(handle_unknown="ignore")
DENSE = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
SCALED = (StandardScaler(), NUMBERS)
PASSED = ("passthrough", [*NUMBERS, "count", "member", "code"])
UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": -1}

MODELS: dict[str, tuple[Any, Any, str]] = {
    "one text column": (make_pipeline(prepared((ONE_HOT, ["city"]), SCALED), LogisticRegression()), TWO, "numpy"),
    "dense": (make_pipeline(prepared((DENSE, TEXTS), SCALED), LogisticRegression()), THREE, "numpy"),
    "sparse": (
        make_pipeline(prepared(SCALED, (ONE_HOT, TEXTS), sparse_threshold=1.0), LogisticRegression()), THREE, "numpy",
    ),
    "sparse regression": (
        make_pipeline(prepared(SCALED, (ONE_HOT, TEXTS), sparse_threshold=1.0), Ridge()), NUMBER, "numpy",
    ),
    "errors for unknown": (
        make_pipeline(prepared((OneHotEncoder(drop="first"), TEXTS), SCALED), LogisticRegression()), TWO, "numpy",
    ),
    "infrequent": (
        make_pipeline(
            prepared((OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60), TEXTS), SCALED),
            LogisticRegression(),
        ), TWO, "numpy",
    ),
    "forest": (
        make_pipeline(prepared((OrdinalEncoder(**UNKNOWN), TEXTS), PASSED),
                      RandomForestClassifier(10, random_state=0)), TWO, "onnxruntime",
    ),
    "sparse forest": (
        make_pipeline(prepared((ONE_HOT, TEXTS), SCALED, sparse_threshold=1.0),
                      RandomForestRegressor(10, random_state=0)), NUMBER, "onnxruntime",
    ),
    "nulls": (
        make_pipeline(prepared((OrdinalEncoder(**UNKNOWN, encoded_missing_value=-2), TEXTS), PASSED),
                      HistGradientBoostingClassifier(max_iter=10)), TWO, "onnxruntime",
    ),
    "categories among codes": (
        make_pipeline(prepared((OrdinalEncoder(**UNKNOWN), TEXTS), PASSED),
                      HistGradientBoostingRegressor(max_iter=10, categorical_features=[0, 1])), NUMBER, "onnxruntime",
    ),
    "imputed": (
        make_pipeline(
            prepared(
                (make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=None), ONE_HOT), TEXTS),
                (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["count", *NUMBERS]),
            ),
            LogisticRegression(),
        ), TWO, "numpy",
    ),
    "nested": (
        make_pipeline(
            make_union(prepared((ONE_HOT, TEXTS)), prepared(("passthrough", NUMBERS))), LogisticRegression()
        ), TWO, "numpy",
    ),
    "targets": (make_pipeline(prepared((TargetEncoder(), TEXTS), SCALED), LinearRegression()), NUMBER, "numpy"),
    "boosted behind a scaler": (
        make_pipeline(prepared((DENSE, TEXTS), SCALED), LGBMClassifier(n_estimators=5, verbose=-1)), TWO, "lightgbm",
    ),
    "calibrated": (
        make_pipeline(prepared((ONE_HOT, TEXTS), SCALED), CalibratedClassifierCV(LogisticRegression(), cv=2)),
        TWO,
        "sklearn",
    ),
    "vectorized": (
        make_pipeline(
            prepared(
                (TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), "note"),
                (make_pipeline(CountVectorizer(analyzer="char_wb", ngram_range=(2, 3)), TfidfTransformer()), "city"),
                (OneHotEncoder(handle_unknown="ignore"), ["street"]),
            ),
            LogisticRegression(),
        ),
        TWO,
        "numpy",
    ),
    "hashed": (
        make_pipeline(prepared((HashingVectorizer(n_features=64), "note"), SCALED), Ridge()), NUMBER, "numpy",
    ),
    "booleans and integers": (
        make_pipeline(prepared((DENSE, ["member", "code"]), remainder="drop"), LogisticRegression()), TWO, "numpy",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_the_engine_gives_the_very_bits_of_the_model(name: str) -> None:
    model, target, expected = MODELS[name]
    model.fit(DATA, target)
    choice, plan, columns = chosen(model, DATA)
    assert choice.name == expected, choice.reason
    assert choice.proven is not None
    for rows in (table(1, 5), table(2, 6), table(150, 7)):
        mixed = columns.conform(Batch(rows=rows.to_dict("records")))
        assert mixed is not None
        labels, probabilities = choice.proven.engine.run(mixed, True)
        frame = plan.conform(columns.batch_of(mixed))
        np.testing.assert_array_equal(labels, model.predict(frame))
        if hasattr(model, "predict_proba"):
            np.testing.assert_array_equal(probabilities, model.predict_proba(frame))


@pytest.mark.parametrize("chosen_by", ["name", "mask", "from_dtype"])
def test_categories_of_histogram_boosting(chosen_by: str) -> None:
    """Unknown ones and nulls go where scikit-learn lets missing values go."""
    data = DATA.drop(columns="note")
    features: Any = [*TEXTS, "member", "count"]
    model = HistGradientBoostingClassifier(
        max_iter=20,
        categorical_features={"name": features, "mask": data.columns.isin(features)}.get(chosen_by, chosen_by),
    )
    model.fit(data.astype(dict.fromkeys(features, "category")) if chosen_by == "from_dtype" else data, THREE)
    choice, plan, columns = chosen(model, data)
    assert choice.name == "onnxruntime", choice.reason
    assert choice.proven is not None
    rows = table(300, 8).drop(columns="note").to_dict("records")
    odd = [{**row, "city": city, "count": 77} for row, city in zip(rows, [None, "no such city", ""] * 100, strict=True)]
    mixed = columns.conform(Batch(rows=[*rows, *odd]))
    assert mixed is not None
    expected = model.predict_proba(plan.conform(columns.batch_of(mixed)))
    np.testing.assert_array_equal(choice.proven.engine.run(mixed, True)[1], expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dense", "sparse", "forest"])
def test_rows_of_several_requests_get_the_bits_that_they_get_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MIN_SAVING", -1.0)  # on a busy machine none may be seen
    model, target, _ = MODELS[name]
    choice, _, columns = chosen(model.fit(DATA, target), DATA)
    assert choice.proven is not None
    assert choice.proven.joint is not None
    tables = [table(size, seed) for seed, size in enumerate((1, 3, 1, 20))]
    parts = [columns.conform(Batch(rows=rows.to_dict("records"))) for rows in tables]
    labels, probabilities = choice.proven.joint([part for part in parts if part is not None], True)
    np.testing.assert_array_equal(labels, np.concatenate([model.predict(rows) for rows in tables]))
    np.testing.assert_array_equal(probabilities, np.concatenate([model.predict_proba(rows) for rows in tables]))


def test_what_stands_in_the_way_is_named() -> None:
    def lengths(texts: Any) -> Any:
        return np.array([[len(text)] for text in np.asarray(texts)[:, 0]])

    parts = prepared((FunctionTransformer(lengths), ["city"]), SCALED)
    choice, _, _ = chosen(make_pipeline(parts, LogisticRegression()).fit(DATA, TWO), DATA)
    assert choice.name == "native"
    assert choice.reasons["sklearn"] == (
        "step 'functiontransformer': input 'city' is text, which FunctionTransformer gets as it is"
    )


def saved(model: Any, folder: Path) -> Path:
    mlflow.sklearn.save_model(
        model, folder, signature=infer_signature(DATA, model.predict(DATA)), pip_requirements=[],
        serialization_format="cloudpickle",
    )  # fmt: skip
    return folder


def test_requests_with_text_are_answered_by_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Batch] = []
    natively = MLflowModel.predict_natively

    def record(model: MLflowModel, loaded: Loaded, batch: Batch, **options: Any) -> Any:
        asked.append(batch)
        return natively(model, loaded, batch, **options)

    model = make_pipeline(prepared((OneHotEncoder(), TEXTS), SCALED), LogisticRegression()).fit(DATA, TWO)
    sample = DATA.drop_duplicates("street").head(5).reset_index(drop=True)
    with in_thread(saved(model, tmp_path / "m"), model_name="m") as server:
        assert server.get("/v2/models/m").json()["properties"]["engine"] == "numpy"
        monkeypatch.setattr(MLflowModel, "predict_natively", record)
        for way in ("V1 records", "V1 columns", "V2 JSON", "V2 binary", "gRPC", "/invocations JSON"):
            assert_same(WAYS[way](server, sample), model.predict(sample).tolist(), way)
        reply = server.predict({"instances": sample.to_dict("records"), "parameters": {"probabilities": True}}).json()
        np.testing.assert_array_equal(reply["probabilities"], model.predict_proba(sample))
        assert not asked
        unseen = server.predict({"instances": [{**sample.iloc[0].to_dict(), "city": "nowhere"}]})
        assert (unseen.status_code, "not trained with this category" in unseen.text) == (400, True), unseen.text
        assert len(asked) == 1


TEXT = [" ".join(words) for words in np.random.default_rng(1).choice(["good", "bad", "so", "Füße"], (200, 5))]


@pytest.mark.parametrize(("texts", "expected"), [(["good so good", ""], True), (["a\x00"], False), ([None], False)])
def test_a_tensor_of_texts(texts: list[Any], expected: bool) -> None:
    plan = plan_of(np.array(TEXT))
    compiled = compile_texts(plan)
    assert compiled is not None
    for batch in (Batch(rows=texts), Batch(columns={"x": object_array(texts)}, tensors=True)):
        rows = compiled.conform(batch)
        assert (rows is not None) is expected
        if rows is not None:
            np.testing.assert_array_equal(plan.conform(compiled.batch_of(rows)), plan.conform(batch))
    assert compiled.conform(Batch(rows=[["nested"]])) is None
    assert compile_texts(plan_of(DATA)) is None


def test_a_model_of_texts_is_served_by_an_engine(tmp_path: Path) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXT, [text.count("good") > 1 for text in TEXT])
    mlflow.sklearn.save_model(
        model, tmp_path / "m", signature=infer_signature(np.array(TEXT)), pip_requirements=[],
        serialization_format="cloudpickle",
    )  # fmt: skip
    with in_thread(tmp_path / "m", model_name="m") as server:
        assert server.get("/v2/models/m").json()["properties"]["engine"] == "numpy"
        reply = server.predict({"instances": TEXT[:3], "parameters": {"probabilities": True}}).json()
        np.testing.assert_array_equal(reply["probabilities"], model.predict_proba(TEXT[:3]))


INTEGERS = pd.DataFrame(np.random.default_rng(0).integers(-1000, 1000, (300, 8)), columns=list("abcdefgh"))


@pytest.mark.parametrize("kind", ["int64", "bool"])
def test_integers_and_booleans_alone(kind: str, tmp_path: Path) -> None:
    """numpy multiplies them row by row, unlike doubles of a DataFrame."""
    data = (INTEGERS > 0) if kind == "bool" else INTEGERS
    model = LogisticRegression().fit(data, INTEGERS.a + INTEGERS.b > 0)
    mlflow.sklearn.save_model(
        model, tmp_path / "m", signature=infer_signature(data), pip_requirements=[],
        serialization_format="cloudpickle",
    )  # fmt: skip
    served = open_model(Settings(model_uri=str(tmp_path / "m")), resolve(Settings(model_uri=str(tmp_path / "m"))))
    served.load()
    loaded = served.require_loaded()
    assert loaded.choice.name == "numpy", loaded.choice.reason
    for rows in (1, 2, 50):
        prediction = served.predict_batch(loaded, Batch(rows=data.head(rows).to_dict("records"), probabilities=True))
        np.testing.assert_array_equal(prediction.probabilities, model.predict_proba(data.head(rows)))
