"""Linear models of scikit-learn in plain numpy: its own operations in its own order, without its checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from predictors.engines.engine import Answer, Unsuited
from predictors.protocol.casting import Array

Product: TypeAlias = Callable[[Array], Array]
"""The rows times the weights that it is given."""
Finish: TypeAlias = Callable[[Product, bool], Answer]


def linear(model: Any) -> Finish:
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


def row_by_row(rows: Array, weights: Array) -> Array:
    """As many products of one row each: the product of all of them has other last bits."""
    products: Array = np.matmul(rows[:, None, :], weights)
    return products[:, 0]


def part_by_part(rows: Array, weights: Array, sizes: Sequence[int], *, columnwise: bool) -> Array:
    """The products of the rows of each request by themselves, for the same reason, lying in memory as they do alone."""
    if len(sizes) == len(rows):
        return row_by_row(rows, weights)
    products, start = [], 0
    for size in sizes:
        part = rows[start : start + size]
        products.append((np.asfortranarray(part) if columnwise else part) @ weights)
        start += size
    return np.concatenate(products)


def regressor(model: Any) -> Finish:
    coefficients, intercept = model.coef_, model.intercept_
    weights = coefficients if coefficients.ndim == 1 else coefficients.T

    def finish(product: Product, probabilities: bool) -> Answer:
        return product(weights) + intercept, None

    return finish


def classifier(model: Any) -> Finish:
    classes, intercept, weights = model.classes_, model.intercept_, model.coef_.T
    probabilities_of: Callable[[Array], Array] | None = None
    if hasattr(model, "predict_proba"):
        probabilities_of = logistic if len(classes) <= 2 else softmax

    def finish(product: Product, probabilities: bool) -> Answer:
        scores = product(weights) + intercept
        if scores.shape[1] == 1:
            scores = scores.reshape(-1)
            labels = classes.take((scores > 0).astype(np.intp))
        else:
            labels = classes.take(scores.argmax(axis=1))
        return labels, probabilities_of(scores) if probabilities and probabilities_of else None

    return finish


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
