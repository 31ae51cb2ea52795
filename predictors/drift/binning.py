"""Bins for numbers, with about as many rows in each."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"

MAX_MAGNITUDE = 1e300  # stands for infinity, which has no midpoint to its neighbour
MIN_BIN_SHARE = 0.25  # of the average bin: smaller bins are noise


def bin_edges(values: Array, bins: int) -> list[float]:
    """The edges between bins; a number belongs to the first bin whose edge it does not exceed.

    The outermost bins are open. If there are few distinct numbers, each has a bin of its own, and there is a bin at
    either end for numbers outside of all of them.
    """
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    distinct = np.clip(distinct.astype(np.float64), -MAX_MAGNITUDE, MAX_MAGNITUDE)
    if not len(distinct):
        return []
    if len(distinct) <= bins:
        return edges_around(distinct)
    cumulative = np.cumsum(counts)
    positions = np.searchsorted(cumulative, cumulative[-1] * np.arange(1, bins) / bins)
    repeated = positions[1:][positions[1:] == positions[:-1]]
    # A number that would fill more than one bin has one to itself: it is separated from those below as well.
    last_positions = sorted({*positions.tolist(), *(repeated - 1).tolist()} - {-1, len(distinct) - 1})
    kept = drop_small_bins(last_positions, cumulative, cumulative[-1] / bins * MIN_BIN_SHARE)
    return sorted(set(midpoints(distinct)[kept].tolist()))


def midpoints(distinct: Array) -> Array:
    """Edges half-way between numbers, so that rounding to single precision does not move a number to another bin."""
    halfway = distinct[:-1] + np.diff(distinct) / 2
    return np.where(halfway < distinct[1:], halfway, distinct[:-1])


def edges_around(distinct: Array) -> list[float]:
    """Midpoints, and edges at the same distance outside of the outermost numbers."""
    gaps = np.diff(distinct)
    margin = max(abs(float(distinct[0])), 1.0) * 1e-6  # for a constant
    first, last = (float(gaps[0]), float(gaps[-1])) if len(gaps) else (margin, margin)
    edges = [float(distinct[0]) - first / 2, *midpoints(distinct).tolist(), float(distinct[-1]) + last / 2]
    return sorted(set(edges))


def drop_small_bins(last_positions: list[int], cumulative: Array, min_rows: float) -> list[int]:
    """Removes edges until no bin has too few rows."""
    while last_positions:
        sizes = np.diff([0, *cumulative[last_positions], cumulative[-1]])
        smallest = int(sizes.argmin())
        if sizes[smallest] >= min_rows:
            break
        right = smallest == 0 or (smallest < len(last_positions) and sizes[smallest + 1] <= sizes[smallest - 1])
        del last_positions[smallest if right else smallest - 1]
    return last_positions
