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
        if theirs := candidate.quantiles.get(output):
            edges = sorted(set(ours.values()))
            yield output, shares_between(edges, ours), shares_between(edges, theirs)


def shares_of(names: Sequence[str], shares: Mapping[str, float]) -> Array:
    return np.array([shares.get(name, 0.0) for name in names])


def shares_between(edges: Sequence[float], quantiles: Mapping[float, float]) -> Array:
    """The shares below, at and between the edges, and above; between quantiles values are taken as evenly spread."""
    return np.diff([share for edge in edges for share in shares_below(edge, quantiles)], prepend=0.0, append=1.0)


def shares_below(edge: float, quantiles: Mapping[float, float]) -> tuple[float, float]:
    """The share below an edge, and that up to it; they differ where many values are the same."""
    shares = sorted(quantiles)
    if equal := [share for share in shares if quantiles[share] == edge]:
        return equal[0], equal[-1]
    values = [quantiles[share] for share in shares]
    share = float(np.interp(edge, values, shares, left=shares[0] / 2, right=(1 + shares[-1]) / 2))
    return share, share


def stability_index(before: Array, after: Array) -> float:
    before, after = np.maximum(before, FLOOR), np.maximum(after, FLOOR)
    return float(np.sum((after - before) * np.log(after / before)))
