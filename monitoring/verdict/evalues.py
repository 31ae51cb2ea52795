"""e-values: how much better than the hypothesis an alternative has foretold what was counted.

Under the hypothesis an e-value's mean is at most 1, at whatever moment it is read, so that it reaches 1/α with a
probability of at most α however often it is looked at (Ville's inequality). Each here is a mixture over a few
alternatives. Arrays end in an axis of windows, and results have the value after each window.

Errors come in bursts, which count as one piece of evidence rather than as many: logarithms are divided by the
dispersion. As that is at least 1, it can only delay what the undivided e-value would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[np.float64]"
Mixture: TypeAlias = Sequence[tuple[float, float]]
"""Alternatives, as factors of the hypothesis' ratio or odds, and their weights."""

HIGHER: Mixture = ((1.6, 0.4), (3.0, 0.4), (10.0, 0.2))
LOWER: Mixture = ((0.5, 0.4), (0.2, 0.2), (0.01, 0.4))


def ratio_evidence(
    baseline: tuple[Array, Array], candidate: tuple[Array, Array], ratio: float, mixture: Mixture, spread: Array
) -> Array:
    """The log e-value against the candidate's share being `ratio` times the baseline's.

    Arms are (bad, all) by window. Given both arms' requests and the bad ones of both together, the share of these that
    the candidate has depends on the ratio alone: weights that move are no evidence, nor is a bad time of both arms.
    """
    (bad_before, before), (bad_after, after) = baseline, candidate
    both = (before > 0) & (after > 0)  # alone, an arm says nothing about the ratio
    before, after = np.where(both, before, 1.0), np.where(both, after, 1.0)
    bad_before, bad_after = np.where(both, bad_before, 0.0), np.where(both, bad_after, 0.0)
    total = before + ratio * after
    logs = [
        bad_after * np.log(factor) - (bad_before + bad_after) * np.log((before + ratio * factor * after) / total)
        for factor, _ in mixture
    ]
    return mixed([np.cumsum(one, axis=-1) for one in logs], mixture, spread)


def share_evidence(arm: tuple[Array, Array], share: float, mixture: Mixture, spread: Array) -> Array:
    """The log e-value against the share of bad ones being `share`."""
    return mixed([np.cumsum(one, axis=-1) for one in share_logs(arm, share, mixture)], mixture, spread)


def stretch_evidence(arm: tuple[Array, Array], share: float, mixture: Mixture, spread: Array) -> Array:
    """The same for the stretch of windows up to each that speaks most against it: what was before does not help."""
    sums = [np.cumsum(one, axis=-1) for one in share_logs(arm, share, mixture)]
    lowest = [np.minimum.accumulate(np.minimum(shifted(one), 0.0), axis=-1) for one in sums]
    return mixed([one - low for one, low in zip(sums, lowest, strict=True)], mixture, spread)


def share_logs(arm: tuple[Array, Array], share: float, mixture: Mixture) -> list[Array]:
    bad, every = arm
    logs = []
    for factor, _ in mixture:
        odds = factor * share / (1 - share)
        alternative = odds / (1 + odds)
        logs.append(bad * np.log(alternative / share) + (every - bad) * np.log((1 - alternative) / (1 - share)))
    return logs


def dispersion(*arms: tuple[Array, Array]) -> Array:
    """How much more counts vary from window to window than independent events would, at least 1.

    Pearson's statistic per degree of freedom, of the arm where it is highest: each around its own share, so that a
    candidate that is steadily worse has none. One degree of freedom more is taken as having none.
    """
    highest: Array = np.ones_like(arms[0][0], dtype=np.float64)
    for bad, every in arms:
        bad_sum, sums, squares, used = (
            np.cumsum(one, axis=-1) for one in (bad, every, bad * bad / np.maximum(every, 1.0), np.sign(every))
        )
        free = np.maximum(used - 1.0, 0.0)
        statistic = np.where(bad_sum > 0, squares * sums / np.maximum(bad_sum, 1.0) - bad_sum, free)
        highest = np.maximum(highest, (statistic + 1) / (free + 1))
    return highest


def mixed(logs: Sequence[Array], mixture: Mixture, spread: Array) -> Array:
    weighted = [one / spread + np.log(weight) for one, (_, weight) in zip(logs, mixture, strict=True)]
    result: Array = np.logaddexp.reduce(weighted, axis=0)
    return result


def shifted(values: Array) -> Array:
    """Each window's predecessor."""
    return np.concatenate([np.zeros_like(values[..., :1]), values[..., :-1]], axis=-1)
