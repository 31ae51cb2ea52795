"""Models of gradient boosting libraries: XGBoost, LightGBM and CatBoost.

- xgboost (ubj, json): MLflow imports `model_class`, so only XGBoost's own model classes pass.
- catboost (cbm, json, onnx) and the text of a LightGBM Booster: parsed by the library, nothing is imported.
- LightGBM's scikit-learn interface in skops files: four of its types are trusted in the lightgbm flavor alone, as in
  MLflow. Restoring them sets attributes and lets LightGBM parse the text of its Booster.
"""

from __future__ import annotations

import re

from predictors.safety.model_files import MLMODEL, ModelFiles
from predictors.safety.skops_types import check_skops

LIGHTGBM_TYPES = (
    *("collections.OrderedDict", "lightgbm.basic.Booster"),
    *("lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor"),
)
XGBOOST_CLASS = re.compile(r"xgboost\.(core\.|sklearn\.)?(Booster|XGB(RF)?(Model|Classifier|Regressor|Ranker))")
CATBOOST_VALUES = {
    "model_type": ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"),
    "save_format": ("cbm", "json", "onnx", None),
}


def check_xgboost(model: ModelFiles) -> None:
    model.files("data")
    name = str(model.config.get("model_class", "xgboost.core.Booster"))
    if not XGBOOST_CLASS.fullmatch(name):
        model.refuse_code(f"xgboost.model_class {name!r} in {MLMODEL}", "MLflow imports and calls it")


def check_lightgbm(model: ModelFiles) -> None:
    files = model.files("data")
    if model.config.get("model_class", "lightgbm.basic.Booster") != "lightgbm.basic.Booster":
        check_skops(model, files, LIGHTGBM_TYPES, default="cloudpickle")


def check_catboost(model: ModelFiles) -> None:
    model.files("data", "model_binary")
    for key, known in CATBOOST_VALUES.items():
        if model.config.get(key) not in known:
            model.refuse_code(f"catboost.{key} {model.config.get(key)!r} in {MLMODEL}", "it is not known to be safe")
