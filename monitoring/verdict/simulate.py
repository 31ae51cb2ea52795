"""How often the verdict is wrong, and how soon it is right: `python -m monitoring.verdict.simulate`.

With `--picture` it draws one of the rollouts.

Rollouts of 40 looks in 20 minutes, 50 requests a second, of which the candidate has 5 % where nothing else is said.
Figures are those of one gate, of errors with its guard. The same seed gives the same ones, which docs/verdict.md has.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from monitoring.catalogue import LATENCY_BUCKETS
from monitoring.verdict.comparison import Bounds, evidence_paths, gate_bounds
from monitoring.verdict.counts import ArmCounts, TrafficWindow
from monitoring.verdict.decision import judge
from monitoring.verdict.evalues import HIGHER, ArmSeries, Array, running_dispersion, stretch_evidence
from monitoring.verdict.gates import Gates
from monitoring.verdict.latency import NEGLIGIBLE, nearest_edge
from monitoring.verdict.picture import picture

MINUTES, RATE = 20, 50.0
RUNS = 4000
EXAMPLE_SEED = 0
SPREAD = 0.3
"""The scale of log-logistic latencies: P99 is 4 times the median."""
FASTEST, SLOWEST = 0.002, 0.5
"""Medians of the latencies of the simulated serves, in seconds."""


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Rollouts whose arms fail a share of their requests."""

    baseline: float
    candidate: float
    burst: int = 1
    """How many errors come together."""
    weights: tuple[float, ...] = (0.05,)
    """The candidate's share of the traffic, step by step."""
    seconds: int = 30
    """Between looks."""
    gate: ClassVar = "errors"

    def bounds(self, gates: Gates) -> Bounds:
        return gate_bounds(self.gate, gates, gates.margin, gates.error_slo)

    def draw(self, dice: np.random.Generator, runs: int) -> tuple[ArmSeries, ArmSeries]:
        before, after = requests(self.weights, self.seconds, runs)
        return self.failing(dice, before, self.baseline), self.failing(dice, after, self.candidate)

    def failing(self, dice: np.random.Generator, every: Array, share: float) -> ArmSeries:
        if self.burst == 1:
            return ArmSeries(dice.binomial(every.astype(int), share).astype(float), every)
        return ArmSeries(np.minimum(every, self.burst * dice.poisson(every * share / self.burst)), every)


@dataclass(frozen=True, slots=True)
class Slowness:
    """Rollouts whose candidate takes `slower` times as long, seen through the buckets of the histogram."""

    slower: float = 1.0
    moods: float = 0.0
    """How much an arm's speed varies from window to window: standard deviation of its logarithm."""
    lasting: float = 0.8
    """The correlation of one window's speed with the next one's."""
    weights: tuple[float, ...] = (0.05,)
    seconds: int = 30
    gate: ClassVar = "latency"

    def bounds(self, gates: Gates) -> Bounds:
        return gate_bounds(self.gate, gates, gates.latency_margin or gates.margin, NEGLIGIBLE)

    def draw(self, dice: np.random.Generator, runs: int) -> tuple[ArmSeries, ArmSeries]:
        median = np.exp(dice.uniform(np.log(FASTEST), np.log(SLOWEST), (runs, 1)))
        shares = share_slower(np.array(LATENCY_BUCKETS), median)
        edge = np.array([[nearest_edge(dict(zip(LATENCY_BUCKETS, one, strict=True)))] for one in shares])
        before, after = requests(self.weights, self.seconds, runs)
        return tuple(  # type: ignore[return-value]
            self.slow(dice, every, edge, median * times) for every, times in ((before, 1.0), (after, self.slower))
        )

    def slow(self, dice: np.random.Generator, every: Array, edge: Array, median: Array) -> ArmSeries:
        mood = dice.normal(size=every.shape) * self.moods
        for window in range(1, every.shape[1]):
            mood[:, window] = self.lasting * mood[:, window - 1] + (1 - self.lasting**2) ** 0.5 * mood[:, window]
        share = share_slower(edge, median * np.exp(mood))
        return ArmSeries(dice.binomial(every.astype(int), share).astype(float), every)


@dataclass(frozen=True, slots=True)
class SimulatedOutcome:
    """The shares of rollouts that fail at any time, passed or not, and that pass before; medians in minutes."""

    failed: float
    failed_after: float | None
    passed: float
    passed_after: float | None


def simulate(rollouts: ErrorRates | Slowness, gates: Gates, runs: int = RUNS, seed: int = 0) -> SimulatedOutcome:
    arms = rollouts.draw(np.random.default_rng(seed), runs)
    bounds = rollouts.bounds(gates)
    paths = evidence_paths(*arms, bounds)
    fails = first_look(paths.against >= np.log(bounds.fails_at))
    if rollouts.gate == "errors" and gates.error_guard is not None:
        guard = stretch_evidence(arms[1], gates.error_guard, HIGHER, running_dispersion(arms[0]))
        fails = np.minimum(fails, first_look(guard >= np.log(1 / gates.alpha)))
    passes = first_look(np.maximum(paths.low, paths.close) >= np.log(bounds.passes_at))
    failed, passed = np.isfinite(fails), passes < fails
    return SimulatedOutcome(
        float(failed.mean()), median_minutes(fails[failed], rollouts.seconds),
        float(passed.mean()), median_minutes(passes[passed], rollouts.seconds),
    )  # fmt: skip


def requests(weights: tuple[float, ...], seconds: int, runs: int) -> Array:
    """Requests of both arms by run and window."""
    looks = MINUTES * 60 // seconds
    share = np.repeat(weights, looks // len(weights))
    every = np.round(RATE * seconds * np.array([1 - share, share]))
    return np.broadcast_to(every[:, np.newaxis, :], (2, runs, looks))


def share_slower(edge: Array, median: Array) -> Array:
    share: Array = 1 / (1 + (edge / median) ** (1 / SPREAD))
    return share


def first_look(reached: Array) -> Array:
    """The number of the first look at which it is reached; infinite where it never is."""
    return np.where(reached.any(axis=-1), np.argmax(reached, axis=-1) + 1.0, np.inf)


def median_minutes(looks: Array, seconds: int) -> float | None:
    return float(np.median(looks)) * seconds / 60 if looks.size else None


GROWING = (0.05, 0.25, 0.5, 0.75)
TABLES: dict[str, dict[str, ErrorRates | Slowness]] = {
    "The candidate is as good as the baseline": {
        "0.5 % errors": ErrorRates(0.005, 0.005),
        "0.5 % errors, in bursts of 10": ErrorRates(0.005, 0.005, 10),
        "0.5 % errors, in bursts of 20": ErrorRates(0.005, 0.005, 20),
        "0.5 % errors, weights 5, 25, 50, 75 %": ErrorRates(0.005, 0.005, weights=GROWING),
        "the same in bursts of 20": ErrorRates(0.005, 0.005, 20, GROWING),
        "the same, looked at every 10 s": ErrorRates(0.005, 0.005, 20, GROWING, 10),
        "no errors": ErrorRates(0.0, 0.0),
        "latency": Slowness(),
        "latency, with good and bad times of ± 10 %": Slowness(moods=0.1),
    },
    "The candidate is worse": {
        "errors 0.5 % → 1 %": ErrorRates(0.005, 0.01),
        "errors 0.5 % → 2 %": ErrorRates(0.005, 0.02),
        "errors 0.5 % → 3 %": ErrorRates(0.005, 0.03),
        "errors 0.5 % → 3 %, looked at every 10 s": ErrorRates(0.005, 0.03, seconds=10),
        "errors 0.5 % → 3 %, in bursts of 20": ErrorRates(0.005, 0.03, 20),
        "errors 0 % → 1 %": ErrorRates(0.0, 0.01),
        "1.25 × slower": Slowness(1.25),
        "1.5 × slower": Slowness(1.5),
        "1.5 × slower, looked at every 10 s": Slowness(1.5, seconds=10),
        "1.5 × slower, with good and bad times of ± 10 %": Slowness(1.5, 0.1),
    },
}


def report(gates: Gates, runs: int = RUNS) -> Iterator[str]:
    """Tables in Markdown."""
    for title, kinds in TABLES.items():
        yield f"| {title} | fails | after (median) | passes first | after (median) |"
        yield "|---|---|---|---|---|"
        for name, rollouts in kinds.items():
            outcome = simulate(rollouts, gates, runs)
            ends = ((outcome.failed, outcome.failed_after), (outcome.passed, outcome.passed_after))
            cells = [f"{100 * share:.1f} % | {'–' if after is None else f'{after:.1f} min'}" for share, after in ends]
            yield f"| {name} | {' | '.join(cells)} |"
        yield ""


def example() -> str:
    """The picture of one rollout whose candidate fails 2 % of its requests, and the baseline 0.5 %."""
    baseline, candidate = ErrorRates(0.005, 0.02).draw(np.random.default_rng(EXAMPLE_SEED), 1)
    gates, windows, looks = Gates(warm_up_seconds=0, latency_margin=None), [], []
    for at in range(baseline.bad.shape[1]):
        before, after = (ArmCounts(int(arm.every[0, at]), int(arm.bad[0, at])) for arm in (baseline, candidate))
        windows.append(TrafficWindow(30.0 * at, 30.0 * (at + 1), before, after))
        looks.append(judge(windows, gates))
        if looks[-1].verdict != "inconclusive":
            break
    return picture(looks) + "\n"


if __name__ == "__main__":
    print(example() if sys.argv[1:] == ["--picture"] else "\n".join(report(Gates())))
