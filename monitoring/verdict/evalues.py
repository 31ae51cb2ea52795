"""e-values: how much better than the hypothesis an alternative has foretold what was counted.

Under the hypothesis an e-value's mean is at most 1, at whatever moment it is read, so that it reaches 1/α with a
probability of at most α however often it is looked at (Ville's inequality). Each here is a mixture over a few
alternatives. Arrays end in an axis of windows, and results have the value after each window.

Errors come in bursts, which count as one piece of evidence rather than as many: logarithms are divided by the
dispersion. As that is at least 1, it can only delay what the undivided e-value would say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[np.float64]"
Mixture: TypeAlias = Sequence[tuple[float, float]]
"""Alternatives, as factors of the hypothesis' ratio or odds, and their weights."""

HIGHER: Mixture = ((1.6, 0.4), (3.0, 0.4), (10.0, 0.2))
LOWER: Mixture = ((0.5, 0.4), (0.2, 0.2), (0.01, 0.4))


@dataclass(frozen=True, slots=True)
class ArmSeries:
    """What is counted in one arm, by window: the bad ones, and all."""

    bad: Array
    every: Array

    @property
    def share(self) -> float | None:
        every = self.every.sum()
        return float(self.bad.sum() / every) if every else None

    def since(self, first: int) -> ArmSeries:
        return ArmSeries(self.bad[..., first:], self.every[..., first:])


def ratio_evidence(
    baseline: ArmSeries, candidate: ArmSeries, ratio: float, mixture: Mixture, dispersion: Array
) -> Array:
    """The log e-value against the candidate's share being `ratio` times the baseline's.

    Given both arms' requests and the bad ones of both together, the share of these that the candidate has depends on
    the ratio alone: weights that move are no evidence, nor is a bad time of both arms.
    """
    both = (baseline.every > 0) & (candidate.every > 0)  # alone, an arm says nothing about the ratio
    before, after = np.where(both, baseline.every, 1.0), np.where(both, candidate.every, 1.0)
    bad_before, bad_after = np.where(both, baseline.bad, 0.0), np.where(both, candidate.bad, 0.0)
    total = before + ratio * after
    logs = [
        bad_after * np.log(factor) - (bad_before + bad_after) * np.log((before + ratio * factor * after) / total)
        for factor, _ in mixture
    ]
    return mixed([np.cumsum(one, axis=-1) for one in logs], mixture, dispersion)


def share_evidence(arm: ArmSeries, share: float, mixture: Mixture, dispersion: Array) -> Array:
    """The log e-value against the share of bad ones being `share`."""
    return mixed([np.cumsum(one, axis=-1) for one in share_logs(arm, share, mixture)], mixture, dispersion)


def stretch_evidence(arm: ArmSeries, share: float, mixture: Mixture, dispersion: Array) -> Array:
    """The same for the stretch of windows up to each that speaks most against it: what was before does not help."""
    sums = [np.cumsum(one, axis=-1) for one in share_logs(arm, share, mixture)]
    lowest = [np.minimum.accumulate(np.minimum(predecessors(one), 0.0), axis=-1) for one in sums]
    return mixed([one - low for one, low in zip(sums, lowest, strict=True)], mixture, dispersion)


def share_logs(arm: ArmSeries, share: float, mixture: Mixture) -> list[Array]:
    logs = []
    for factor, _ in mixture:
        odds = factor * share / (1 - share)
        alternative = odds / (1 + odds)
        good = arm.every - arm.bad
        logs.append(arm.bad * np.log(alternative / share) + good * np.log((1 - alternative) / (1 - share)))
    return logs


def running_dispersion(*arms: ArmSeries) -> Array:
    """How much more counts vary from window to window than independent events would, at least 1.

    Pearson's statistic per degree of freedom, over all arms. Each varies around its own share, so that a candidate
    that is steadily worse adds nothing. One degree of freedom more is taken as having no dispersion.
    """
    statistic, freedom = np.ones_like(arms[0].bad), np.ones_like(arms[0].bad)
    for arm in arms:
        bad, every, squares, used = (
            np.cumsum(one, axis=-1)
            for one in (arm.bad, arm.every, arm.bad**2 / np.maximum(arm.every, 1.0), np.sign(arm.every))
        )
        free = np.maximum(used - 1.0, 0.0)
        statistic += np.where(bad > 0, squares * every / np.maximum(bad, 1.0) - bad, free)
        freedom += free
    return np.maximum(statistic / freedom, 1.0)


def mixed(logs: Sequence[Array], mixture: Mixture, dispersion: Array) -> Array:
    weighted = [one / dispersion + np.log(weight) for one, (_, weight) in zip(logs, mixture, strict=True)]
    result: Array = np.logaddexp.reduce(weighted, axis=0)
    return result


def predecessors(values: Array) -> Array:
    """Each window's value before it; zero before the first."""
    return np.concatenate([np.zeros_like(values[..., :1]), values[..., :-1]], axis=-1)
