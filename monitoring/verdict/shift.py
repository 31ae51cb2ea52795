"""Whether the candidate predicts something else than the baseline: the population stability index between the arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from monitoring.verdict.counts import ArmCounts
from monitoring.verdict.evalues import Array

MIN_ROWS = 200
FLOOR = 0.0005
"""A share that nothing is below, so that a class that one arm has not met gives a finite index."""


def shifts(baseline: ArmCounts, candidate: ArmCounts) -> Mapping[str, float]:
    """The index by output, less what chance gives in as many rows."""
    if min(baseline.rows, candidate.rows) < MIN_ROWS:
        return {}
    chance = 1 / baseline.rows + 1 / candidate.rows
    return {
        output: max(0.0, stability_index(before, after) - (len(before) - 1) * chance)
        for output, before, after in distributions(baseline, candidate)
    }


def distributions(baseline: ArmCounts, candidate: ArmCounts) -> Iterator[tuple[str, Array, Array]]:
    """Both arms' shares of the same classes or ranges."""
    for output, before in baseline.classes.items():
        if after := candidate.classes.get(output):
            names = sorted({*before, *after})
            yield output, shares_of(names, before), shares_of(names, after)
    for output, ours in baseline.quantiles.items():
        if (theirs := candidate.quantiles.get(output)) and len(set(ours.values())) > 1:
            edges = sorted(set(ours.values()))
            yield output, shares_between(edges, ours), shares_between(edges, theirs)


def shares_of(names: Sequence[str], shares: Mapping[str, float]) -> Array:
    return np.array([shares.get(name, 0.0) for name in names])


def shares_between(edges: Sequence[float], quantiles: Mapping[float, float]) -> Array:
    """The shares below, between and above the edges; between quantiles values are taken as evenly spread."""
    at = {value: share for share, value in sorted(quantiles.items())}  # of equal values the highest share
    values = sorted(at)
    shares = [at[value] for value in values]
    below = np.interp(edges, values, shares, left=shares[0] / 2, right=(1 + shares[-1]) / 2)
    return np.diff(below, prepend=0.0, append=1.0)


def stability_index(before: Array, after: Array) -> float:
    before, after = np.maximum(before, FLOOR), np.maximum(after, FLOOR)
    return float(np.sum((after - before) * np.log(after / before)))
