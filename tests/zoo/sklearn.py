"""scikit-learn models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.zoo.case import PIP, ZooModel, classes, few, labels, mixed, numbers


def save(model: Any, folder: Path, data: Any, *, signed: bool = True, example: bool = False, **options: Any) -> None:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    output = model.predict(data) if hasattr(model, "predict") else model.transform(data)
    signature = infer_signature(data, output) if signed else None
    if signed:
        options["signature"] = signature
    if example:
        options["input_example"] = data[:3]
    mlflow.sklearn.save_model(model, folder, **PIP, **options)


def logistic(folder: Path, **options: Any) -> None:
    from sklearn.linear_model import LogisticRegression

    data = numbers()
    save(LogisticRegression().fit(data, labels(data)), folder, data, **options)


def unsigned(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    data = numbers()
    save(LogisticRegression().fit(data.to_numpy(), labels(data)), folder, data.to_numpy(), signed=False)


def tensor(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    data = numbers()
    save(LogisticRegression().fit(data.to_numpy(), labels(data)), folder, data.to_numpy())


def forest(folder: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    data = numbers()
    names = np.array(["low", "middle", "high"])[classes(data)]
    model = RandomForestClassifier(10, max_depth=4, random_state=0).fit(data, names)
    save(model, folder, data, skops_trusted_types=["sklearn.tree._tree.Tree"])


def regression(folder: Path) -> None:
    from sklearn.linear_model import LinearRegression

    data = numbers()
    save(LinearRegression().fit(data, data.a * 2 + data.b), folder, data)


def two_targets(folder: Path) -> None:
    from sklearn.linear_model import LinearRegression

    data = numbers()
    target = pd.DataFrame({"up": data.a * 2, "down": -data.b})
    save(LinearRegression().fit(data, target), folder, data)


def pipeline(folder: Path) -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    data = mixed()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (StandardScaler(), ["amount", "count"]),
        remainder="passthrough",
    )
    model = make_pipeline(columns, LogisticRegression()).fit(data, data.amount > 0)
    save(model, folder, data, serialization_format="cloudpickle")


def scaler(folder: Path) -> None:
    from sklearn.preprocessing import StandardScaler

    data = numbers()
    save(StandardScaler().fit(data), folder, data)


def native_scaler(folder: Path, sample: pd.DataFrame) -> Any:
    """mlflow.pyfunc can only ask for `predict`, which a transformer does not have."""
    import mlflow.sklearn

    return mlflow.sklearn.load_model(str(folder)).transform(sample)


def vector_machine(folder: Path) -> None:
    from sklearn.svm import SVC

    data = numbers()
    save(SVC().fit(data, labels(data)), folder, data)


def text(folder: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    data = sentences()
    first = FunctionTransformer(lambda frame: frame.iloc[:, 0])
    model = make_pipeline(first, TfidfVectorizer(), LogisticRegression()).fit(data, [0, 1, 0, 1])
    save(model, folder, data, serialization_format="cloudpickle")


def sentences() -> pd.DataFrame:
    return pd.DataFrame({"text": ["a small cat", "a big dog, 3.5 years", "one cat more", "007"]})


def isolation(folder: Path) -> None:
    from sklearn.ensemble import IsolationForest

    data = numbers()
    save(IsolationForest(n_estimators=10, random_state=0).fit(data), folder, data, serialization_format="pickle")


def of_mlflow_2(folder: Path) -> None:
    """A folder as MLflow 2.9 wrote it: cloudpickle in model.pkl, no model_id."""
    from tests.zoo.age import as_written_by

    logistic(folder, serialization_format="cloudpickle")
    as_written_by("2.9.2", folder)


PROBA = ("decision_function", "predict_log_proba", "predict_proba")
CASES = [
    ZooModel("sklearn-logistic", "sklearn", lambda f: logistic(f, example=True), lambda: few(numbers()), True, PROBA, True),
    ZooModel("sklearn-pickle", "sklearn", lambda f: logistic(f, serialization_format="pickle"), lambda: few(numbers()),
         False, PROBA, True),
    ZooModel("sklearn-cloudpickle", "sklearn", lambda f: logistic(f, serialization_format="cloudpickle"),
         lambda: few(numbers()), False, PROBA, True),
    ZooModel("sklearn-mlflow-2", "sklearn", of_mlflow_2, lambda: few(numbers()), False, PROBA, True),
    ZooModel("sklearn-no-signature", "sklearn", unsigned, lambda: numbers(5).to_numpy(), True, PROBA, True),
    ZooModel("sklearn-tensor", "sklearn", tensor, lambda: numbers(5).to_numpy(), True, PROBA, True),
    ZooModel("sklearn-forest-text-labels", "sklearn", forest, lambda: few(numbers()), False,
         ("apply", "predict_log_proba", "predict_proba"), True),
    ZooModel("sklearn-linear-regression", "sklearn", regression, lambda: few(numbers()), True),
    ZooModel("sklearn-two-targets", "sklearn", two_targets, lambda: few(numbers()), True),
    ZooModel("sklearn-pipeline-mixed-columns", "sklearn", pipeline, lambda: few(mixed()), False, PROBA, True),
    ZooModel("sklearn-scaler", "sklearn", scaler, lambda: few(numbers()), True, ("transform",), native=native_scaler),
    ZooModel("sklearn-svc", "sklearn", vector_machine, lambda: few(numbers()), True, ("decision_function",)),
    ZooModel("sklearn-text", "sklearn", text, sentences, False, PROBA, True),
    ZooModel("sklearn-isolation-forest", "sklearn", isolation, lambda: few(numbers()), False,
         ("decision_function", "score_samples")),
    ZooModel("sklearn-predict-proba-as-predict", "sklearn",
         lambda f: logistic(f, pyfunc_predict_fn="predict_proba"), lambda: few(numbers()), True, PROBA),
]  # fmt: skip
