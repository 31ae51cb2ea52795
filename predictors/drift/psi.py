"""The population stability index (PSI), a distance between two distributions over the same bins."""

from __future__ import annotations

import numpy as np

from predictors.drift.binning import Array

MIN_SHARE = 1e-4
"""The smallest share of a bin: otherwise a single value that was never seen before would make the PSI infinite."""


def psi(expected: Array, actual: Array) -> float:
    return float(psi_by_variable(expected, actual, np.zeros(1, np.int64))[0])


def psi_by_variable(expected: Array, actual: Array, starts: Array) -> Array:
    """The PSI of each variable, whose bins begin at one of `starts`; NaN if nothing was counted.

    Two samples of the same distribution differ by (bins - 1) × (1/rows + 1/rows) on average. That is subtracted:
    otherwise small windows would always seem to drift.
    """
    sizes = np.diff([*starts, len(expected)])
    rows = np.add.reduceat(expected, starts), np.add.reduceat(actual, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [
            np.maximum(counts / np.repeat(total, sizes), MIN_SHARE)
            for counts, total in zip((expected, actual), rows, strict=True)
        ]
        distances = np.add.reduceat((shares[0] - shares[1]) * np.log(shares[0] / shares[1]), starts)
        used = np.add.reduceat(((expected + actual) > 0).astype(np.int64), starts)
        by_chance = (used - 1) * (1 / rows[0] + 1 / rows[1])
    return np.where((rows[0] > 0) & (rows[1] > 0), np.maximum(distances - by_chance, 0.0), np.nan)
