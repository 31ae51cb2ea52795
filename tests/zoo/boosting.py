"""XGBoost, LightGBM and CatBoost models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.zoo.case import PIP, ZooModel, classes, few, labels, numbers

# ASCII: XGBoost 3.2 cuts the names of categories at the wrong place where they hold other letters.
CITIES = ["Ulm", "Bonn", "007"]


def cities(rows: int = 200) -> pd.DataFrame:
    """Numbers and a text column."""
    return numbers(rows).assign(city=np.random.default_rng(1).choice(CITIES, rows))


def categories(rows: int = 200) -> pd.DataFrame:
    return cities(rows).astype({"city": pd.CategoricalDtype(CITIES)})


def signature(data: pd.DataFrame, output: Any) -> Any:
    from mlflow.models import infer_signature

    return infer_signature(data, output)


def xgboost_booster(folder: Path, objective: str = "binary:logistic", **options: Any) -> None:
    import mlflow.xgboost
    import xgboost

    data = numbers()
    several = objective.startswith("multi")
    target = classes(data) if several else labels(data)
    settings = {"objective": objective, "seed": 0, **({"num_class": 3} if several else {})}
    model = xgboost.train(settings, xgboost.DMatrix(data, target), 10)
    if options.pop("signed", True):
        options["signature"] = signature(data, model.predict(xgboost.DMatrix(data)))
    mlflow.xgboost.save_model(model, folder, **PIP, **options)


def xgboost_of_mlflow_2(folder: Path) -> None:
    from tests.zoo.age import as_written_by

    xgboost_booster(folder)
    as_written_by("2.9.2", folder, {"model.ubj": "model.xgb"})


def xgboost_sklearn(folder: Path, kind: str, data: pd.DataFrame, target: Any, **options: Any) -> None:
    import mlflow.xgboost
    import xgboost

    model = getattr(xgboost, kind)(n_estimators=10, random_state=0, **options).fit(data, target)
    mlflow.xgboost.save_model(model, folder, signature=signature(data, model.predict(data)), **PIP)


def native_xgboost(folder: Path, sample: pd.DataFrame) -> Any:
    import mlflow.xgboost

    return mlflow.xgboost.load_model(str(folder)).predict(sample.astype({"city": pd.CategoricalDtype(CITIES)}))


def lightgbm_booster(folder: Path, objective: str, data: pd.DataFrame) -> None:
    import lightgbm
    import mlflow.lightgbm

    several = objective == "multiclass"
    target = classes(data) if several else labels(data)
    settings = {"objective": objective, "verbose": -1, **({"num_class": 3} if several else {})}
    model = lightgbm.train(settings, lightgbm.Dataset(data, target), 10)
    mlflow.lightgbm.save_model(model, folder, signature=signature(data, model.predict(data)), **PIP)


def native_lightgbm(folder: Path, sample: pd.DataFrame) -> Any:
    import mlflow.lightgbm

    return mlflow.lightgbm.load_model(str(folder)).predict(sample.astype({"city": pd.CategoricalDtype(CITIES)}))


def lightgbm_sklearn(folder: Path, kind: str, **options: Any) -> None:
    import lightgbm
    import mlflow.lightgbm

    data = numbers()
    target = labels(data) if kind == "LGBMClassifier" else data.a * 2
    model = getattr(lightgbm, kind)(n_estimators=10, verbose=-1).fit(data, target)
    mlflow.lightgbm.save_model(model, folder, signature=signature(data, model.predict(data)), **PIP, **options)


def catboost(
    folder: Path, kind: str, data: pd.DataFrame, target: Any, text: list[str] | None = None, **options: Any
) -> None:
    import catboost as library
    import mlflow.catboost

    model = getattr(library, kind)(iterations=10, verbose=0, allow_writing_files=False, cat_features=text)
    model.fit(data, target)
    mlflow.catboost.save_model(model, folder, signature=signature(data, model.predict(data)), **PIP, **options)


XGB = ("apply", "predict_proba")
CAT = ("predict_log_proba", "predict_proba")
CASES = [
    ZooModel("xgboost-booster", "xgboost", xgboost_booster, lambda: few(numbers()), True, ("predict_proba",), True),
    ZooModel("xgboost-booster-json", "xgboost", lambda f: xgboost_booster(f, model_format="json"), lambda: few(numbers()),
         True, ("predict_proba",), True),
    ZooModel("xgboost-booster-softprob", "xgboost", lambda f: xgboost_booster(f, "multi:softprob"), lambda: few(numbers()),
         True, ("predict_proba",), True),
    ZooModel("xgboost-booster-regression", "xgboost", lambda f: xgboost_booster(f, "reg:squarederror"),
         lambda: few(numbers()), True),
    ZooModel("xgboost-no-signature", "xgboost", lambda f: xgboost_booster(f, signed=False), lambda: few(numbers()), True,
         ("predict_proba",), True),
    ZooModel("xgboost-mlflow-2", "xgboost", xgboost_of_mlflow_2, lambda: few(numbers()), True, ("predict_proba",), True),
    ZooModel("xgboost-classifier", "xgboost",
         lambda f: xgboost_sklearn(f, "XGBClassifier", numbers(), classes(numbers())),
         lambda: few(numbers()), True, XGB, True),
    ZooModel("xgboost-regressor", "xgboost",
         lambda f: xgboost_sklearn(f, "XGBRegressor", numbers(), numbers().a * 2),
         lambda: few(numbers()), True, ("apply",)),
    ZooModel("xgboost-categories", "xgboost",
         lambda f: xgboost_sklearn(f, "XGBClassifier", categories(), labels(categories()), enable_categorical=True),
         lambda: few(cities()), True, XGB, True, native=native_xgboost),
    ZooModel("lightgbm-booster", "lightgbm", lambda f: lightgbm_booster(f, "binary", numbers()), lambda: few(numbers()),
         True, ("predict_proba",), True),
    ZooModel("lightgbm-booster-multiclass", "lightgbm", lambda f: lightgbm_booster(f, "multiclass", numbers()),
         lambda: few(numbers()), True, ("predict_proba",), True),
    ZooModel("lightgbm-categories", "lightgbm", lambda f: lightgbm_booster(f, "binary", categories()),
         lambda: few(cities()), True, ("predict_proba",), True, native=native_lightgbm),
    ZooModel("lightgbm-classifier", "lightgbm", lambda f: lightgbm_sklearn(f, "LGBMClassifier"), lambda: few(numbers()),
         True, ("predict_proba",), True),
    ZooModel("lightgbm-regressor-cloudpickle", "lightgbm",
         lambda f: lightgbm_sklearn(f, "LGBMRegressor", serialization_format="cloudpickle"), lambda: few(numbers())),
    ZooModel("catboost-classifier", "catboost", lambda f: catboost(f, "CatBoostClassifier", numbers(), classes(numbers())),
         lambda: few(numbers()), True, CAT, True),
    ZooModel("catboost-regressor-json", "catboost",
         lambda f: catboost(f, "CatBoostRegressor", numbers(), numbers().a * 2, format="json"),
         lambda: few(numbers()), True),
    ZooModel("catboost-text-column", "catboost",
         lambda f: catboost(f, "CatBoostClassifier", cities(), labels(cities()), ["city"]), lambda: few(cities()), True,
         CAT, True),
]  # fmt: skip
