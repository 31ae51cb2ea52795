"""Engines for XGBoost, LightGBM and CatBoost: a matrix instead of a DataFrame, and one thread for few rows.

For few rows, waking more threads costs more time than they save, and under a CPU limit a hundred times more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from predictors.engines.classes import both_classes
from predictors.engines.engine import Answer, Declined, Engine, EngineCandidate, Run, Unsuited
from predictors.engines.lightgbm_rows import single_row
from predictors.engines.xgboost_rows import matrix_prediction
from predictors.protocol.casting import Array
from predictors.runtime.cpus import cpu_limit

MAX_SINGLE_THREAD_ROWS = 500  # up to here one thread is the fastest


def xgboost(raw: Any, proba_from_predictions: bool) -> EngineCandidate:
    """`proba_from_predictions`: a bare Booster whose predictions are probabilities."""

    def build() -> Engine:
        wrapped = hasattr(raw, "get_booster")
        booster = raw.get_booster() if wrapped else raw
        if hasattr(booster, "get_categories") and not booster.get_categories().empty():
            raise Unsuited("it has categories")
        single = booster.copy()
        single.set_param({"nthread": 1})
        missing = getattr(raw, "missing", np.nan)
        iterations = raw._get_iteration_range(None) if wrapped else (0, 0)
        few = matrix_prediction(single, missing=missing, iterations=iterations)
        many = matrix_prediction(booster, missing=missing, iterations=iterations)

        def values(rows: Array) -> Array:
            with np.errstate(over="ignore"):
                rows = rows.astype(np.float32)
            if np.isinf(rows).any():
                raise Declined
            return few(rows) if len(rows) <= MAX_SINGLE_THREAD_ROWS else many(rows)

        return Engine("xgboost", labelled(values, raw, proba_from_predictions))

    return EngineCandidate("xgboost", build)


def lightgbm(raw: Any, proba_from_predictions: bool) -> EngineCandidate:
    def build() -> Engine:
        booster = getattr(raw, "booster_", raw)
        if booster.pandas_categorical:
            raise Unsuited("it has categories")
        one = single_row(booster)

        def values(rows: Array) -> Array:
            if one is not None and len(rows) == 1:
                return one(rows)
            threads = 1 if len(rows) <= MAX_SINGLE_THREAD_ROWS else cpu_limit()
            predictions: Array = booster.predict(rows, num_threads=threads)
            return predictions

        return Engine("lightgbm", labelled(values, raw, proba_from_predictions))

    return EngineCandidate("lightgbm", build)


def catboost(raw: Any) -> EngineCandidate:
    def build() -> Engine:
        if raw.get_cat_feature_indices() or raw.get_text_feature_indices():
            raise Unsuited("it has features that are no numbers")
        predict_proba = getattr(raw, "predict_proba", None)

        def run(rows: Array, probabilities: bool) -> Answer:
            if np.isinf(rows).any():
                raise Declined
            threads = 1 if len(rows) <= MAX_SINGLE_THREAD_ROWS else cpu_limit()
            method = predict_proba if probabilities else None
            return raw.predict(rows, thread_count=threads), method(rows, thread_count=threads) if method else None

        return Engine("catboost", run)

    return EngineCandidate("catboost", build)


def labelled(values: Callable[[Array], Array], raw: Any, proba_from_predictions: bool) -> Run:
    """Labels and probabilities from the values that a booster computes."""
    classes = getattr(raw, "classes_", None)
    if not hasattr(raw, "predict_proba"):
        return lambda rows, probabilities: without_labels(values(rows), probabilities and proba_from_predictions)

    def run(rows: Array, probabilities: bool) -> Answer:
        shares = both_classes(values(rows))
        labels = shares.argmax(axis=1)
        if classes is not None:
            labels = np.asarray(classes).take(labels)
        return labels, shares if probabilities else None

    return run


def without_labels(predictions: Array, probabilities: bool) -> Answer:
    return predictions, both_classes(predictions) if probabilities else None
