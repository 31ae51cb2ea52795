"""Engines: faster ways to a model's numbers, and the proof that each has to give before it serves."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.models import infer_signature
from mlflow.sklearn import save_model
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from predictors.engines.choice import EngineChoice, choose
from predictors.engines.engine import Engine, EngineCandidate
from predictors.engines.estimators import engine_candidates
from predictors.engines.probes import Probing
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.open_model import open_model
from predictors.pipeline.settings import Settings
from predictors.protocol.batch import Batch
from predictors.runtime.cpus import THREAD_VARIABLES, limit_threads, quota_of
from predictors.sklearn import SklearnModel
from predictors.storage.source import resolve
from tests.serving import in_thread

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(400, 6)) * [1, 10, 0.1, 3, 1, 100]
HOLES = np.where(RANDOM.random(X.shape) < 0.1, np.nan, X)
TWO = (X[:, 0] + X[:, 1] / 10 > 0).astype(int)
THREE = np.digitize(X[:, 0] + X[:, 3], [-1, 1])
WORDS = np.array(["no", "yes"])[TWO]
NUMBER = X[:, 0] * 3 + np.abs(X[:, 3])


def opened(folder: Path, **settings: Any) -> MLflowModel:
    server_settings = Settings(model_uri=str(folder), **settings)
    model = open_model(server_settings, resolve(server_settings))
    model.load()
    return model


def chosen(model: Any, mode: str = "auto", dtype: Any = np.float64, rows: Any = X) -> EngineChoice:
    def native(data: Any, probabilities: bool) -> Any:
        return model.predict(data), model.predict_proba(data) if hasattr(model, "predict_proba") else None

    return choose(
        engine_candidates(model), mode, Probing(rows.shape[1], np.dtype(dtype), example=rows[:5].astype(dtype)), native
    )


MODELS: list[tuple[Any, str, str]] = [
    (LogisticRegression().fit(X, TWO), "numpy", "numpy"),
    (LogisticRegression().fit(X, THREE), "numpy", "numpy"),
    (LogisticRegression().fit(X, WORDS), "numpy", "numpy"),
    (LinearRegression().fit(X, NUMBER), "numpy", "numpy"),
    (LinearRegression().fit(X, np.stack([NUMBER, TWO], axis=1)), "numpy", "numpy"),
    (Lasso().fit(X, NUMBER), "numpy", "numpy"),
    (RidgeClassifier().fit(X, THREE), "numpy", "numpy"),
    (SGDClassifier(loss="log_loss", random_state=0).fit(X, TWO), "numpy", "numpy"),
    (PoissonRegressor().fit(X, np.abs(NUMBER)), "sklearn", "sklearn"),
    (make_pipeline(StandardScaler(), LogisticRegression()).fit(X, TWO), "numpy", "numpy"),
    (make_pipeline(RobustScaler(), LogisticRegression()).fit(X, THREE), "numpy", "numpy"),
    (make_pipeline(MinMaxScaler(), MaxAbsScaler(), Lasso()).fit(X, NUMBER), "numpy", "numpy"),
    (
        make_pipeline(SimpleImputer(), PowerTransformer(), PCA(3), LogisticRegression()).fit(HOLES, TWO),
        "numpy",
        "numpy",
    ),
    (make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)).fit(X, TWO), "onnxruntime", "numpy"),
    (DecisionTreeClassifier(max_depth=4).fit(X, THREE), "onnxruntime", "numpy"),
    (DecisionTreeClassifier().fit(X[:5], [0, 0, 0, 0, 0]), "onnxruntime", "numpy"),
    (DecisionTreeRegressor().fit(X, NUMBER), "onnxruntime", "numpy"),
    (RandomForestClassifier(20, random_state=0).fit(X, TWO), "onnxruntime", "numpy"),
    (RandomForestClassifier(20, random_state=0).fit(X, WORDS), "onnxruntime", "numpy"),
    (RandomForestClassifier(20, random_state=0).fit(HOLES, THREE), "onnxruntime", "numpy"),
    (RandomForestRegressor(20, random_state=0).fit(X, NUMBER), "onnxruntime", "numpy"),
    (ExtraTreesClassifier(20, random_state=0).fit(X, THREE), "onnxruntime", "numpy"),
    (GradientBoostingClassifier(n_estimators=20).fit(X, TWO), "onnxruntime", "sklearn"),
    (GradientBoostingClassifier(n_estimators=20).fit(X, THREE), "onnxruntime", "sklearn"),
    (GradientBoostingRegressor(n_estimators=20).fit(X, NUMBER), "onnxruntime", "sklearn"),
    (HistGradientBoostingClassifier(max_iter=20).fit(HOLES, TWO), "onnxruntime", "sklearn"),
    (HistGradientBoostingClassifier(max_iter=20).fit(X, THREE), "onnxruntime", "sklearn"),
    (HistGradientBoostingRegressor(max_iter=20, loss="poisson").fit(HOLES, np.abs(NUMBER)), "onnxruntime", "sklearn"),
    (
        HistGradientBoostingClassifier(max_iter=20, categorical_features=[1, 4]).fit(
            np.where(np.arange(6) % 3 == 1, np.rint(HOLES) % 20, HOLES), THREE
        ),
        "onnxruntime",
        "sklearn",
    ),
    (SVC(random_state=0).fit(X, TWO), "sklearn", "sklearn"),
    (GaussianNB().fit(X, THREE), "sklearn", "sklearn"),
    (MLPClassifier(max_iter=5, random_state=0).fit(X, TWO), "sklearn", "sklearn"),
    (IsolationForest(n_estimators=10, random_state=0).fit(X), "sklearn", "sklearn"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("mode", ["auto", "native"])
@pytest.mark.parametrize(
    ("model", "auto", "native"),
    [pytest.param(*one, id=f"{i}-{type(one[0]).__name__}") for i, one in enumerate(MODELS)],
)
def test_the_engine_gives_the_very_bits_of_the_model(model: Any, auto: str, native: str, mode: str, dtype: Any) -> None:
    choice = chosen(model, mode, dtype)
    assert choice.name == {"auto": auto, "native": native}[mode], choice.reason
    assert choice.proven is not None
    fresh = np.random.default_rng(99)
    for size in (1, 2, 3, 17, 100, 1000):
        rows = (fresh.choice(X.reshape(-1), size=(size, 6)) * fresh.normal(1, 0.1, size=(size, 6))).astype(dtype)
        labels, probabilities = choice.proven.engine.run(rows.copy(), True)
        np.testing.assert_array_equal(labels, model.predict(rows))
        if hasattr(model, "predict_proba"):
            np.testing.assert_array_equal(probabilities, model.predict_proba(rows))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [MODELS[i][0] for i in (0, 1, 9, 17, 22)], ids=lambda model: type(model).__name__)
def test_rows_of_several_requests_get_the_bits_that_they_get_alone(model: Any) -> None:
    proven = chosen(model).proven
    assert proven is not None
    assert proven.joint is not None
    parts = [X[:1], X[1:4], X[4:5], X[5:25]]
    labels, probabilities = proven.joint(parts, True)
    np.testing.assert_array_equal(labels, np.concatenate([model.predict(part) for part in parts]))
    np.testing.assert_array_equal(probabilities, np.concatenate([model.predict_proba(part) for part in parts]))


class Stubborn(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """Derives from a known model and does something else."""

    def predict(self, X: Any) -> Any:
        return np.full(len(X), 7)


def test_a_model_that_only_looks_like_a_known_one() -> None:
    choice = chosen(Stubborn().fit(X, TWO))
    assert choice.name == "sklearn"
    assert choice.reasons["numpy"] == "Stubborn is not one of scikit-learn's tree models"
    assert choice.proven is not None
    assert choice.proven.engine.run(X[:2], False)[0].tolist() == [7, 7]


def regression(change: Callable[[Any], Any], *, compiled: bool = False) -> EngineChoice:
    """An engine for a linear model that is off by `change`."""
    model = LinearRegression().fit(X, NUMBER)
    run = lambda rows, wanted: (change(model.predict(rows)), None)  # noqa: E731
    candidate = EngineCandidate("close", lambda: Engine("close", run, compiled=compiled), compiled)
    return choose([candidate], "auto", Probing(6, np.dtype(float)), lambda rows, wanted: (model.predict(rows), None))


def test_an_engine_that_is_off_does_not_serve() -> None:
    def one_bit(values: Any) -> Any:
        return np.nextafter(values, np.inf)

    assert regression(lambda values: values).name == "close"
    assert regression(one_bit).reasons == {"close": "predictions for ordinary rows differ in 500 of 500 rows"}
    assert regression(one_bit, compiled=True).name == "close"
    assert regression(lambda values: values * (1 + 1e-5), compiled=True).proven is None
    assert "float32" in regression(lambda values: values.astype(np.float32), compiled=True).reason
    assert "instead of float64[500]" in regression(lambda values: values[:, None]).reason


def test_an_engine_that_answers_what_the_model_refuses() -> None:
    model = LinearRegression().fit(X, NUMBER)
    lax = EngineCandidate(
        "lax", lambda: Engine("lax", lambda rows, wanted: (rows @ model.coef_ + model.intercept_, None))
    )
    choice = choose([lax], "auto", Probing(6, np.dtype(float)), lambda rows, wanted: (model.predict(rows), None))
    assert choice.reasons == {"lax": "it answers rows with missing values that the model refuses"}


def test_one_wrong_label_is_one_too_many() -> None:
    model = LogisticRegression().fit(X, TWO)

    def almost(rows: Any, wanted: bool) -> Any:
        labels = model.predict(rows)
        labels[0] = 1 - labels[0]
        return labels, model.predict_proba(rows)

    def native(rows: Any, wanted: bool) -> Any:
        return model.predict(rows), model.predict_proba(rows)

    candidate = EngineCandidate("almost", lambda: Engine("almost", almost, compiled=True), compiled=True)
    choice = choose([candidate], "auto", Probing(6, np.dtype(float)), native)
    assert choice.reasons == {"almost": "predictions for ordinary rows differ in 1 of 500 rows"}


def test_last_digits_change_only_where_that_is_allowed() -> None:
    """A model whose rows depend on how many there are, as those of many neural networks do."""

    def native(rows: Any, probabilities: bool) -> Any:
        time.sleep(0.0003)  # so that it is worth it
        return rows.sum(axis=1) * (1 + 1e-12 * (len(rows) > 1)), None

    candidate = EngineCandidate("network", lambda: Engine("network", native))
    for batching, joint in (("exact", False), ("allow", True)):
        proven = choose([candidate], "auto", Probing(6, np.dtype(float)), native, batching=batching).proven
        assert proven is not None
        assert (proven.joint is not None) is joint


def test_without_onnx_runtime_the_trees_are_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    choice = chosen(RandomForestClassifier(5, random_state=0).fit(X, TWO))
    assert choice.name == "numpy"
    assert choice.reasons == {"onnxruntime": "onnxruntime is not installed"}


def test_what_cannot_be_built_is_said(monkeypatch: pytest.MonkeyPatch, zoo: Callable[[str], Path]) -> None:
    def broken() -> Engine:
        raise ZeroDivisionError

    monkeypatch.setattr(SklearnModel, "engines", lambda self, native: [EngineCandidate("new", broken)])
    with in_thread(zoo("sklearn-logistic"), model_name="m") as server:
        properties = server.get("/v2/models/m").json()["properties"]
        assert (properties["engine"], properties["engine_reason"]) == (
            "native",
            "new: it cannot be built (ZeroDivisionError)",
        )
        metrics = server.get("/metrics").text
        assert re.search(
            r'model_engine\{engine="native",.*reason="new: it cannot be built .ZeroDivisionError."\} 1', metrics
        )
        assert server.predict({"instances": [{"a": 1, "b": 2, "c": 3}]}).status_code in (200, 400)


@pytest.mark.parametrize(
    ("case", "auto", "native"),
    [
        ("sklearn-logistic", "numpy", "numpy"),
        ("sklearn-forest-text-labels", "onnxruntime", "numpy"),
        ("sklearn-pipeline-mixed-columns", "numpy", "numpy"),
        ("sklearn-predict-proba-as-predict", "native", "native"),
        ("xgboost-booster-softprob", "xgboost", "xgboost"),
        ("xgboost-classifier", "xgboost", "xgboost"),
        ("xgboost-categories", "native", "native"),
        ("lightgbm-booster", "lightgbm", "lightgbm"),
        ("lightgbm-classifier", "lightgbm", "lightgbm"),
        ("catboost-classifier", "catboost", "catboost"),
        ("pyfunc-params", "native", "native"),
    ],
)
def test_the_engine_of_each_flavor(case: str, auto: str, native: str, zoo: Callable[[str], Path]) -> None:
    for mode, expected in (("auto", auto), ("native", native)):
        loaded = opened(zoo(case), engine=mode).require_loaded()
        assert loaded.choice.name == expected, loaded.choice.reason


def test_an_engine_answers_only_what_it_can(zoo: Callable[[str], Path]) -> None:
    model = opened(zoo("sklearn-logistic"))
    loaded, rows = model.require_loaded(), [[1.0, 2.0, 3.0]]
    width = loaded.matrix.width if loaded.matrix else 0
    rows = [[1.0] * width]
    assert loaded.engine_rows(Batch(rows=rows)) is not None
    assert loaded.engine_rows(Batch(rows=rows, method="predict")) is not None
    assert loaded.engine_rows(Batch(rows=rows, method="predict_proba")) is None
    assert loaded.engine_rows(Batch(rows=rows, params={"x": 1})) is None


def test_compiled_or_nothing(tmp_path: Path, zoo: Callable[[str], Path]) -> None:
    with pytest.raises(
        LoadError, match=r"--engine=compiled: no compiled engine can serve this model \(onnxruntime: Log"
    ):
        opened(zoo("sklearn-logistic"), engine="compiled")
    model = RandomForestClassifier(5, random_state=0).fit(X, TWO)
    save_model(model, tmp_path / "forest", signature=infer_signature(X, TWO), serialization_format="cloudpickle")
    assert opened(tmp_path / "forest", engine="compiled").require_loaded().choice.name == "onnxruntime"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
        ({"cpu.max": "nonsense"}, None),
    ],
)
def test_the_limit_of_a_container(files: dict[str, str], expected: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert quota_of(tmp_path) == expected


def test_numeric_libraries_are_told_how_many_threads_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "")
    monkeypatch.delenv("MKL_NUM_THREADS")
    limit_threads(workers=1000)
    assert [os.environ[name] for name in THREAD_VARIABLES] == ["3", "1", "1", "1", "1"]
    for name in THREAD_VARIABLES[1:]:
        monkeypatch.delenv(name)


def test_a_slow_model_is_asked_less() -> None:
    model = LinearRegression().fit(X, NUMBER)
    asked: list[int] = []

    def slow(rows: Any, wanted: bool) -> Any:
        asked.append(len(rows))
        until = time.perf_counter() + 0.002 * len(rows)
        while time.perf_counter() < until:
            pass
        return model.predict(rows), None

    candidate = EngineCandidate("slow", lambda: Engine("slow", slow))
    assert choose([candidate], "auto", Probing(6, np.dtype(float)), slow).name == "slow"
    assert max(asked) < 500
    assert sum(asked) * 0.002 < 20
