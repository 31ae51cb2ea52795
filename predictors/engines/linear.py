"""Linear models of scikit-learn in plain numpy: its own operations in its own order, without its checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from predictors.engine import Answer, Run, Unsuited
from predictors.protocol.casting import Array


def linear(model: Any) -> Run:
    """Linear, ridge, lasso, logistic, … models of scikit-learn itself; whoever derives from them may do anything."""
    from sklearn.base import is_regressor
    from sklearn.linear_model._base import LinearClassifierMixin

    kind = type(model)
    if kind.__module__.startswith("sklearn.") and isinstance(getattr(model, "coef_", None), np.ndarray):
        if isinstance(model, LinearClassifierMixin):
            return classifier(model)
        if is_regressor(model):
            return regressor(model)
    raise Unsuited(f"{kind.__name__} is not a linear model of scikit-learn")


def regressor(model: Any) -> Run:
    coefficients, intercept = model.coef_, model.intercept_
    weights = coefficients if coefficients.ndim == 1 else coefficients.T
    return lambda rows, probabilities: (rows @ weights + intercept, None)


def classifier(model: Any) -> Run:
    classes, intercept, weights = model.classes_, model.intercept_, model.coef_.T
    probabilities_of: Callable[[Array], Array] | None = None
    if hasattr(model, "predict_proba"):
        probabilities_of = logistic if len(classes) <= 2 else softmax

    def run(rows: Array, probabilities: bool) -> Answer:
        scores = rows @ weights + intercept
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
