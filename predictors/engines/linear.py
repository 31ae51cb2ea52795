"""Linear models of scikit-learn in plain numpy: its own operations in its own order, without its checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from predictors.engine import Answer, Run, Unsuited
from predictors.protocol.casting import Array

Product: TypeAlias = Callable[[Array, Array], Array]


def linear(model: Any) -> tuple[Run, Run]:
    """Linear, ridge, lasso, logistic, … models of scikit-learn itself; whoever derives from them may do anything.

    The second function takes rows that are a request each: as many products of one row, because the product of all of
    them has other last bits.
    """
    from sklearn.base import is_regressor
    from sklearn.linear_model._base import LinearClassifierMixin

    kind = type(model)
    if kind.__module__.startswith("sklearn.") and isinstance(getattr(model, "coef_", None), np.ndarray):
        if isinstance(model, LinearClassifierMixin):
            return classifier(model, np.matmul), classifier(model, row_by_row)
        if is_regressor(model):
            return regressor(model, np.matmul), regressor(model, row_by_row)
    raise Unsuited(f"{kind.__name__} is not a linear model of scikit-learn")


def row_by_row(rows: Array, weights: Array) -> Array:
    products: Array = np.matmul(np.ascontiguousarray(rows)[:, None, :], weights)
    return products[:, 0]


def regressor(model: Any, product: Product) -> Run:
    coefficients, intercept = model.coef_, model.intercept_
    weights = coefficients if coefficients.ndim == 1 else coefficients.T
    return lambda rows, probabilities: (product(rows, weights) + intercept, None)


def classifier(model: Any, product: Product) -> Run:
    classes, intercept, weights = model.classes_, model.intercept_, model.coef_.T
    probabilities_of: Callable[[Array], Array] | None = None
    if hasattr(model, "predict_proba"):
        probabilities_of = logistic if len(classes) <= 2 else softmax

    def run(rows: Array, probabilities: bool) -> Answer:
        scores = product(rows, weights) + intercept
        if scores.shape[1] == 1:
            scores = scores.reshape(-1)
            labels = classes.take((scores > 0).astype(np.intp))
        else:
            labels = classes.take(scores.argmax(axis=1))
        return labels, probabilities_of(scores) if probabilities and probabilities_of else None

    return run


def logistic(scores: Array) -> Array:
    from scipy.special import expit

    second = expit(scores, out=scores)
    both = np.empty((len(second), 2), dtype=second.dtype)
    np.subtract(1, second, out=both[:, 0])
    both[:, 1] = second
    return both


def softmax(scores: Array) -> Array:
    scores -= scores.max(axis=1).reshape(-1, 1)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1).reshape(-1, 1)
    return scores
