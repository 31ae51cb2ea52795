"""Small things that several tabular flavors need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from predictors.engines.classes import both_classes
from predictors.model.native import Method


def class_probabilities(predict: Method) -> Method:
    """For models whose predictions are probabilities already, those of two classes maybe of the second only."""

    def run(data: Any, params: Mapping[str, Any]) -> Any:
        return both_classes(np.asarray(predict(data, params)))

    return run


def with_categories(method: Method) -> Method:
    """Text columns as pandas categories: libraries that learnt categories take no text."""

    def run(data: Any, params: Mapping[str, Any]) -> Any:
        return method(categories(data), params)

    return run


def categories(data: Any) -> Any:
    text = [name for name in getattr(data, "columns", ()) if data[name].dtype == object]
    return data.astype(dict.fromkeys(text, "category")) if text else data
