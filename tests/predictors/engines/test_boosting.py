"""Engines of XGBoost and LightGBM: their C interfaces give what their Python packages give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from xgboost import XGBClassifier, XGBRegressor

from predictors.engines import boosting
from predictors.engines.engine import Engine

RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(700, 5))
X[RANDOM.random(X.shape) < 0.1] = np.nan
NUMBER = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1] * X[:, 2])
TWO, THREE = (NUMBER > 0).astype(int), np.digitize(NUMBER, [-0.5, 0.5])
SMALL = {"n_estimators": 15, "random_state": 0, "n_jobs": 1}
EARLY = {"early_stopping_rounds": 2, **SMALL}

MODELS: dict[str, Any] = {
    "LightGBM, two classes": LGBMClassifier(**SMALL, verbose=-1).fit(X, np.array(["no", "yes"])[TWO]),
    "LightGBM, three classes": LGBMClassifier(**SMALL, verbose=-1).fit(X, THREE),
    "LightGBM, numbers": LGBMRegressor(**SMALL, verbose=-1).fit(X, NUMBER),
    "XGBoost, two classes": XGBClassifier(**SMALL).fit(X, TWO),
    "XGBoost, three classes, stopped early": XGBClassifier(**EARLY).fit(
        X, THREE, eval_set=[(X[:50], THREE[:50])], verbose=False
    ),
    "XGBoost, numbers, zero is missing": XGBRegressor(**SMALL, missing=0.0).fit(np.nan_to_num(X), NUMBER),
}


def engine_of(model: Any) -> Engine:
    kind = boosting.lightgbm if isinstance(model, (LGBMClassifier, LGBMRegressor)) else boosting.xgboost
    return kind(model, False).build()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_the_bits_of_the_library(name: str) -> None:
    model = MODELS[name]
    engine = engine_of(model)
    rows = np.nan_to_num(X) if "zero" in name else X
    for part in (rows[3:4], rows[:2], rows[:7], rows):
        labels, probabilities = engine.run(part.copy(), True)
        np.testing.assert_array_equal(labels, model.predict(part), strict=True)
        if hasattr(model, "predict_proba"):
            np.testing.assert_array_equal(probabilities, model.predict_proba(part), strict=True)


@pytest.mark.parametrize("name", ["LightGBM, three classes", "XGBoost, two classes"])
def test_threads_get_their_own_answers(name: str) -> None:
    engine = engine_of(MODELS[name])
    alone = [engine.run(X[row : row + 1], True)[1] for row in range(200)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda row: engine.run(X[row % 200 : row % 200 + 1], True)[1], range(2000)))
    np.testing.assert_array_equal(together, alone * 10)


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 5 values, got 4"):
        engine_of(MODELS["LightGBM, numbers"]).run(X[:1, :4], False)
