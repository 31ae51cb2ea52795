"""Class probabilities from models that give only those of the second class."""

from __future__ import annotations

from typing import Any

import numpy as np


def both_classes(probabilities: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The probabilities of both classes from those of the second; of more classes, as they are."""
    if probabilities.ndim == 2 and probabilities.shape[1] > 1:
        return probabilities
    second = probabilities.reshape(-1)
    return np.vstack((1 - second, second)).T
