"""Predictions of any form (arrays, tables, or either by name), of which engines need parts, joins and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Predictions, Unsuited
from predictors.protocol.results import is_frame


def compare_answers(actual: Answer, expected: Answer, group: str, tolerance: float) -> None:
    """Raises `Unsuited` where an answer is not the one that is expected."""
    for part, mine, model in zip(("predictions", "probabilities"), actual, expected, strict=True):
        compare(mine, model, f"{part} for {group}", tolerance)


def compare(actual: Predictions, expected: Predictions, part: str, tolerance: float) -> None:
    if actual is None and expected is None:
        return
    if isinstance(expected, np.ndarray) and isinstance(actual, np.ndarray):
        compare_arrays(actual, expected, part, tolerance)
        return
    if type(actual) is not type(expected) or not (isinstance(expected, Mapping) or is_frame(expected)):
        raise Unsuited(f"{part}: a {type(actual).__name__} instead of a {type(expected).__name__}")
    if [*actual] != [*expected]:
        raise Unsuited(f"{part}: other outputs than the model's")
    for name in expected:
        compare(as_array(actual[name]), as_array(expected[name]), part, tolerance)


def as_array(values: Any) -> Any:
    return values.to_numpy() if hasattr(values, "to_numpy") else values


def compare_arrays(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], part: str, tolerance: float) -> None:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise Unsuited(f"{part}: {actual.dtype}{list(actual.shape)} instead of {expected.dtype}{list(expected.shape)}")
    if expected.dtype.kind != "f":
        same = actual == expected
    elif tolerance:
        same = np.isclose(actual, expected, rtol=tolerance, atol=0, equal_nan=True)
    else:
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    if not same.all():
        differ = int(np.count_nonzero(~same.reshape(len(same), -1).all(axis=1)))
        raise Unsuited(f"{part} differ in {differ} of {len(same)} rows")


def part_of(predictions: Predictions, rows: slice) -> Predictions:
    """The predictions of some of the rows."""
    if isinstance(predictions, Mapping):
        return {name: part_of(values, rows) for name, values in predictions.items()}
    return predictions.iloc[rows].reset_index(drop=True) if is_frame(predictions) else predictions[rows]


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of several requests as those of one."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: join_predictions([part[name] for part in parts]) for name in first}
    if is_frame(first):
        import pandas as pd

        return pd.concat(parts, ignore_index=True)
    return np.concatenate(parts)
