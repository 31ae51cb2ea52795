"""Two predictions for the same rows, compared: labels that differ, and how far numbers are apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from predictors.protocol import results
from predictors.protocol.batch import Prediction
from predictors.protocol.casting import Array

MAX_DIFFERENCES = 16  # of one request, evenly from all its rows: each is counted on the event loop
MAX_DIFFERENCE = 1e9  # beyond the last bucket; the sum of larger ones would soon be no number
NUMBERS = "fiu"


@dataclass(slots=True)
class ComparedAnswers:
    labels: int = 0
    """Rows whose labels were compared."""
    different: int = 0
    differences: list[float] = field(default_factory=list)
    """How far numbers are apart, of a sample."""


def compare(prediction: Prediction, other: Prediction) -> ComparedAnswers:
    """A class is a label: whatever is no number of floating point, and what comes with probabilities."""
    compared = ComparedAnswers()
    ours, theirs = results.named_tensors(prediction), results.named_tensors(other)
    classifies = prediction.probabilities is not None
    for name, values in ours.items():
        others = theirs.get(name)
        is_number = values.dtype.kind == "f" and (name == results.PROBABILITIES or not classifies)
        if others is None or others.shape != values.shape:  # nothing of it is the same
            rows = len(values) if values.ndim else 1
            compared.labels += rows
            compared.different += rows
        elif is_number and others.dtype.kind in NUMBERS:
            compared.differences += differences(sampled(values), sampled(others)).tolist()
        else:
            differs = ~equal(values, others).reshape(len(values) if values.ndim else 1, -1)
            compared.labels += len(differs)
            compared.different += int(differs.any(axis=1).sum())
    return compared


def sampled(values: Array) -> Array:
    flat = values.reshape(-1)
    sample: Array = flat[:: max(1, -(-len(flat) // MAX_DIFFERENCES))].astype(float)
    return sample


def differences(values: Array, others: Array) -> Array:
    """How far numbers are apart. NaN is as far from any number as can be."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.nan_to_num(np.abs(values - others), nan=MAX_DIFFERENCE)
    return np.where(equal(values, others), 0.0, np.minimum(apart, MAX_DIFFERENCE))


def equal(values: Array, others: Array) -> Array:
    """Value by value; NaN is the same as NaN, which alone is not itself."""
    same: Array = (values == others) | ((values != values) & (others != others))
    return same
