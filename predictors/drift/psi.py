"""The population stability index: how far two distributions over the same bins are apart."""

from __future__ import annotations

import numpy as np

from predictors.drift.binning import Array

FLOOR = 1e-4
"""The least share that a bin counts with: a single value that was never seen would else be infinitely far away."""


def psi(expected: Array, found: Array) -> float:
    return float(psis(expected, found, np.zeros(1, np.int64))[0])


def psis(expected: Array, found: Array, starts: Array) -> Array:
    """One index for each run of bins that begins at one of `starts`; NaN where nothing was counted.

    By chance alone two samples of the same rows differ by (bins - 1) × (1/rows + 1/rows) on average. That is taken
    off: a small window would else always look as if it had drifted.
    """
    sizes = np.diff([*starts, len(expected)])
    rows = np.add.reduceat(expected, starts), np.add.reduceat(found, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [
            np.maximum(counts / np.repeat(total, sizes), FLOOR)
            for counts, total in zip((expected, found), rows, strict=True)
        ]
        apart = np.add.reduceat((shares[0] - shares[1]) * np.log(shares[0] / shares[1]), starts)
        used = np.add.reduceat(((expected + found) > 0).astype(np.int64), starts)
        by_chance = (used - 1) * (1 / rows[0] + 1 / rows[1])
    return np.where((rows[0] > 0) & (rows[1] > 0), np.maximum(apart - by_chance, 0.0), np.nan)
