"""XGBoost, LightGBM and CatBoost by themselves: a matrix instead of a table, and one thread for few rows.

For few rows it costs more to wake several threads than they save, and under a CPU limit it costs a hundred times more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from predictors.engines.classes import both_classes
from predictors.engines.engine import Answer, Declined, Engine, EngineCandidate, Run, Unsuited
from predictors.protocol.casting import Array
from predictors.runtime.cpus import cpu_limit

FEW = 500  # rows up to which one thread is the fastest way


def xgboost(raw: Any, proba_from_predictions: bool) -> EngineCandidate:
    """`proba_from_predictions`: a bare Booster whose predictions are probabilities."""

    def build() -> Engine:
        wrapped = hasattr(raw, "get_booster")
        booster = raw.get_booster() if wrapped else raw
        single = booster.copy()
        single.set_param({"nthread": 1})
        options = {"missing": getattr(raw, "missing", np.nan), "validate_features": False}
        if wrapped:
            options["iteration_range"] = raw._get_iteration_range(None)

        def values(rows: Array) -> Array:
            with np.errstate(over="ignore"):
                rows = rows.astype(np.float32)
            if np.isinf(rows).any():
                raise Declined
            made: Array = (single if len(rows) <= FEW else booster).inplace_predict(rows, **options)
            return made

        return Engine("xgboost", answers(values, raw, proba_from_predictions))

    return EngineCandidate("xgboost", build)


def lightgbm(raw: Any, proba_from_predictions: bool) -> EngineCandidate:
    def build() -> Engine:
        booster = getattr(raw, "booster_", raw)

        def values(rows: Array) -> Array:
            threads = 1 if len(rows) <= FEW else cpu_limit()
            made: Array = booster.predict(rows, num_threads=threads)
            return made

        return Engine("lightgbm", answers(values, raw, proba_from_predictions))

    return EngineCandidate("lightgbm", build)


def catboost(raw: Any) -> EngineCandidate:
    def build() -> Engine:
        if raw.get_cat_feature_indices() or raw.get_text_feature_indices():
            raise Unsuited("it has features that are no numbers")
        predict_proba = getattr(raw, "predict_proba", None)

        def run(rows: Array, probabilities: bool) -> Answer:
            if np.isinf(rows).any():
                raise Declined
            threads = 1 if len(rows) <= FEW else cpu_limit()
            wanted = predict_proba if probabilities else None
            return raw.predict(rows, thread_count=threads), wanted(rows, thread_count=threads) if wanted else None

        return Engine("catboost", run)

    return EngineCandidate("catboost", build)


def answers(values: Callable[[Array], Array], raw: Any, proba_from_predictions: bool) -> Run:
    """Predictions and probabilities from the one thing that a booster computes."""
    classes = getattr(raw, "classes_", None)
    if not hasattr(raw, "predict_proba"):
        return lambda rows, probabilities: bare(values(rows), probabilities and proba_from_predictions)

    def run(rows: Array, probabilities: bool) -> Answer:
        both = both_classes(values(rows))
        labels = both.argmax(axis=1)
        if classes is not None:
            labels = np.asarray(classes).take(labels)
        return labels, both if probabilities else None

    return run


def bare(found: Array, probabilities: bool) -> Answer:
    return found, both_classes(found) if probabilities else None
