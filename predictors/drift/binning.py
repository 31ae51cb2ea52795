"""Where to cut the range of a number, so that about as much lies in each bin."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"

HUGE = 1e300  # instead of infinity, which has no middle
LEAST_SHARE = 0.25  # of what a bin would have if all had the same: smaller ones are noise


def cuts(values: Array, bins: int) -> list[float]:
    """The edges between bins; a number belongs to the first bin whose edge it does not exceed.

    The outermost bins are open. Where there are few distinct numbers, each has a bin of its own, and what lies outside
    of all of them has one at either end.
    """
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    distinct = np.clip(distinct.astype(np.float64), -HUGE, HUGE)
    if not len(distinct):
        return []
    if len(distinct) <= bins:
        return around(distinct)
    upto = np.cumsum(counts)
    wanted = np.searchsorted(upto, upto[-1] * np.arange(1, bins) / bins)
    heavy = wanted[1:][wanted[1:] == wanted[:-1]]
    # A number that fills more than one bin gets one to itself: it is cut off from those below as well.
    ends = sorted({*wanted.tolist(), *(heavy - 1).tolist()} - {-1, len(distinct) - 1})
    kept = without_small(ends, upto, upto[-1] / bins * LEAST_SHARE)
    return sorted(set(middles(distinct)[kept].tolist()))


def middles(distinct: Array) -> Array:
    """Edges half-way between numbers: single precision must not put a number into another bin."""
    found = distinct[:-1] + np.diff(distinct) / 2
    return np.where(found < distinct[1:], found, distinct[:-1])


def around(distinct: Array) -> list[float]:
    """The same, and as far from the outermost."""
    gaps = np.diff(distinct)
    room = max(abs(float(distinct[0])), 1.0) * 1e-6  # of a constant
    first, last = (float(gaps[0]), float(gaps[-1])) if len(gaps) else (room, room)
    edges = [float(distinct[0]) - first / 2, *middles(distinct).tolist(), float(distinct[-1]) + last / 2]
    return sorted(set(edges))


def without_small(ends: list[int], upto: Array, least: float) -> list[int]:
    """Fewer edges, until no bin holds too little."""
    while ends:
        sizes = np.diff([0, *upto[ends], upto[-1]])
        smallest = int(sizes.argmin())
        if sizes[smallest] >= least:
            break
        right = smallest == 0 or (smallest < len(ends) and sizes[smallest + 1] <= sizes[smallest - 1])
        del ends[smallest if right else smallest - 1]
    return ends
