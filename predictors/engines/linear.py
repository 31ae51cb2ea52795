"""scikit-learn's linear models in numpy: the same operations in the same order, without the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from predictors.engines.engine import Answer, Unsuited
from predictors.protocol.casting import Array

Product: TypeAlias = Callable[[Array], Array]
"""The product of the rows with the given weights."""
Finish: TypeAlias = Callable[[Product, bool], Answer]


def finish_of(model: Any) -> Finish:
    """The function from products to predictions, for scikit-learn's own classes: subclasses may do anything."""
    from sklearn.base import is_regressor
    from sklearn.linear_model._base import LinearClassifierMixin

    kind = type(model)
    if kind.__module__.startswith("sklearn.") and isinstance(getattr(model, "coef_", None), np.ndarray):
        if isinstance(model, LinearClassifierMixin):
            return finish_classification(model)
        if is_regressor(model):
            return finish_regression(model)
    raise Unsuited(f"{kind.__name__} is not a linear model of scikit-learn")


def multiply_rows(rows: Array, weights: Array) -> Array:
    """A product for each row: that of the whole matrix may differ in the last bits."""
    products: Array = np.matmul(rows[:, None, :], weights)
    return products[:, 0]


def multiply_parts(rows: Array, weights: Array, sizes: Sequence[int], *, columnwise: bool) -> Array:
    """A product for each request, for the same reason, with the rows in memory as they are for the request alone."""
    if len(sizes) == len(rows):
        return multiply_rows(rows, weights)
    products, start = [], 0
    for size in sizes:
        part = rows[start : start + size]
        products.append((np.asfortranarray(part) if columnwise else part) @ weights)
        start += size
    return np.concatenate(products)


def finish_regression(model: Any) -> Finish:
    coefficients, intercept = model.coef_, model.intercept_
    weights = coefficients if coefficients.ndim == 1 else coefficients.T

    def finish(product: Product, probabilities: bool) -> Answer:
        return product(weights) + intercept, None

    return finish


def finish_classification(model: Any) -> Finish:
    classes, intercept, weights = model.classes_, model.intercept_, model.coef_.T
    probabilities_of: Callable[[Array], Array] | None = None
    if hasattr(model, "predict_proba"):
        probabilities_of = binary_probabilities if len(classes) <= 2 else softmax

    def finish(product: Product, probabilities: bool) -> Answer:
        scores = product(weights) + intercept
        if scores.shape[1] == 1:
            scores = scores.reshape(-1)
            labels = classes.take((scores > 0).astype(np.intp))
        else:
            labels = classes.take(scores.argmax(axis=1))
        return labels, probabilities_of(scores) if probabilities and probabilities_of else None

    return finish


def binary_probabilities(scores: Array) -> Array:
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
