"""Class probabilities of two classes from one column."""

from __future__ import annotations

from typing import Any

import numpy as np


def both_classes(probabilities: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Probabilities of the second class as those of both; several classes stay as they are."""
    if probabilities.ndim == 2 and probabilities.shape[1] > 1:
        return probabilities
    second = probabilities.reshape(-1)
    return np.vstack((1 - second, second)).T
