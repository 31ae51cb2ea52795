"""Tells whether one test was worse than another, by the verdict that rollouts have.

Of each percentile of A, the share of A's requests beyond it is compared with B's beyond it and the tolerance: a B that
is slower by just that has as many. Windows are some seconds long, and the evidence is divided by how much they vary:
requests within one second wait in the same queue, and whatever slows a server down lasts for some seconds. The
intervals that are drawn are a bootstrap over seconds, drawn several in a row for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from loadtest import drawing, report, slo
from loadtest.histogram import middle
from loadtest.outcome import LoadResult, Second
from loadtest.results import Result
from loadtest.target import UnusableTarget
from monitoring.verdict import ArmSeries, Bounds, Evidence, compare_arms

RESAMPLES = 2000
CONFIDENCE = 0.95
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ERROR_MARGIN = 0.001
"""A share of errors that is higher by less than this is not worse."""
COMPARISONS = len(PERCENTILES) + 1
BOUND = COMPARISONS / (1 - CONFIDENCE)
"""The e-value at which one comparison is certain, so that all are right together 95 times out of 100."""
NEAR = ((1.1, 0.4), (1.3, 0.3), (2.0, 0.2), (5.0, 0.1))
"""Alternatives for shares of slow requests: percentiles show small differences."""
SLOWER = Bounds(1.0, 1.0, 0.0, BOUND, BOUND, NEAR, tuple((1 / factor, weight) for factor, weight in NEAR))
FAILING = Bounds(1.5, 2.0, ERROR_MARGIN, BOUND, BOUND)
MIN_SECONDS = 10
MIN_BEYOND = 5
"""Requests that must be slower than a percentile for it to mean something."""
MAX_STEPS = 2500
"""Steps of a histogram, which reach beyond an hour."""


@dataclass(frozen=True, slots=True)
class MetricDifference:
    name: str
    a: float
    b: float
    low: float
    """The interval from `low` to `high` is of B's percentile divided by A's, or B's share of errors minus A's."""
    estimate: float
    high: float
    worse: bool
    unsure: bool = False
    """The evidence is for neither: B may be worse."""
    needed: int = 0
    """Requests that the comparison needs, if there were too few."""
    evidence: Evidence | None = None

    @property
    def sign(self) -> str:
        return "worse" if self.worse else "may be worse" if self.unsure else "not worse"

    def __str__(self) -> str:
        sign = "WORSE" if self.worse else self.sign
        if self.needed:
            return f"{self.name}: too few successful requests to compare: expected {self.needed} in each test"
        if self.name == "errors":
            return f"errors {self.a:.3%} → {self.b:.3%}: {self.low:+.3%} to {self.high:+.3%}: {sign}"
        times = f"{slo.seconds(self.a)} → {slo.seconds(self.b)}"
        return f"{self.name} {times}: {self.low:.2f} to {self.high:.2f} times as long: {sign}"


def compare(a: Result, b: Result, tolerance: float) -> list[MetricDifference]:
    for name in ("protocol", "profile", "rps", "rows"):
        if getattr(a, name) != getattr(b, name):
            raise UnusableTarget(f"the two tests differ in {name}: {getattr(a, name)} and {getattr(b, name)}")
    ours_all, theirs_all = a.outcome, b.outcome
    if a.profile != "steady":
        # One test may have ended early: seconds that only the other has were at another rate.
        both = ours_all.seconds.keys() & theirs_all.seconds.keys()
        ours_all, theirs_all = (LoadResult({at: one.seconds[at] for at in both}) for one in (ours_all, theirs_all))
    for label, one in (("A", ours_all), ("B", theirs_all)):
        if len(one.seconds) < MIN_SECONDS:
            raise UnusableTarget(f"{label} has {len(one.seconds)} seconds to compare: it needs {MIN_SECONDS}")
    seconds = min(len(ours_all.seconds), len(theirs_all.seconds))
    outside = (1 - CONFIDENCE) / COMPARISONS
    ends = [100 * outside / 2, 100 * (1 - outside / 2)]
    dice = np.random.default_rng(0)
    drawn_a, drawn_b = Drawn(ours_all, dice), Drawn(theirs_all, dice)
    answered = min(ours_all.latencies.count, theirs_all.latencies.count)
    differences = []
    for name, share in PERCENTILES.items():
        if not answered:
            continue
        ours, theirs = ours_all.latencies.percentile(share), theirs_all.latencies.percentile(share)
        needed = round(MIN_BEYOND / (1 - share))
        if answered < needed:
            differences.append(MetricDifference(name, ours, theirs, 0, theirs / ours, 0, worse=False, needed=needed))
            continue
        ratios = drawn_b.percentile(share) / drawn_a.percentile(share)
        low, high = np.percentile(ratios, ends)
        slow_a = windows(ours_all, seconds, beyond(ours))
        slow_b = windows(theirs_all, seconds, beyond(ours * (1 + tolerance)))
        evidence = compare_arms(name, slow_a, slow_b, SLOWER)
        differences.append(difference(evidence, ours, theirs, (low, theirs / ours, high)))
    before, after = share_of_errors(ours_all), share_of_errors(theirs_all)
    low, high = np.percentile(drawn_b.errors - drawn_a.errors, ends)
    failures_a, failures_b = (windows(one, seconds, failed) for one in (ours_all, theirs_all))
    evidence = compare_arms("errors", failures_a, failures_b, FAILING)
    differences.append(difference(evidence, before, after, (low, after - before, high)))
    if all(one.needed for one in differences[:-1]) and not differences[-1].worse:
        raise UnusableTarget(f"{answered} successful requests in both tests are too few for a comparison")
    return differences


def difference(evidence: Evidence, a: float, b: float, interval: tuple[float, float, float]) -> MetricDifference:
    worse, unsure = evidence.verdict == "fail", evidence.verdict != "pass"
    return MetricDifference(evidence.gate, a, b, *interval, worse, unsure, evidence=evidence)


def windows(outcome: LoadResult, seconds: int, count: Callable[[Second], tuple[int, int]]) -> ArmSeries:
    """The bad ones and all, in windows of several seconds; a rest is left out."""
    length = round(math.sqrt(seconds))
    counts = np.array([count(one) for _, one in sorted(outcome.seconds.items())], dtype=np.float64)
    bad, every = counts[: seconds // length * length].reshape(-1, length, 2).sum(axis=1).T
    return ArmSeries(bad, every)


def beyond(limit: float) -> Callable[[Second], tuple[int, int]]:
    """The successful requests that took longer."""

    def count(second: Second) -> tuple[int, int]:
        slow = sum(number for step, number in second.latencies.steps.items() if middle(step) > limit)
        return slow, second.latencies.count

    return count


def failed(second: Second) -> tuple[int, int]:
    errors = second.errors.total()
    return errors, max(second.offered, errors)  # requests count when they begin, and errors when they end


def colour(worse: bool, unsure: bool) -> str:
    return "unsure" if unsure and not worse else report.word(not worse)


def verdict(differences: list[MetricDifference]) -> str:
    if any(one.worse for one in differences):
        return "B is worse than A"
    if any(one.unsure or one.needed for one in differences):
        return "B may be worse than A, but it is not certain: run longer tests"
    return "B is not worse than A"


class Drawn:
    """Resamples of a test: its seconds, drawn with replacement."""

    def __init__(self, outcome: LoadResult, dice: np.random.Generator) -> None:
        seconds = [one for _, one in sorted(outcome.seconds.items())]
        weights = drawn_seconds(len(seconds), dice)
        counts = np.zeros((len(seconds), MAX_STEPS), dtype=np.int64)
        for place, one in enumerate(seconds):
            for step, count in one.latencies.steps.items():
                counts[place, min(step, MAX_STEPS - 1)] = count
        used = np.flatnonzero(counts.any(axis=0))
        self.times = np.array([middle(int(step)) for step in used])
        self.cumulated: npt.NDArray[np.int64] = np.cumsum(weights @ counts[:, used], axis=1)
        offered = weights @ np.array([one.offered for one in seconds])
        self.errors: npt.NDArray[np.float64] = weights @ np.array([one.errors.total() for one in seconds]) / offered

    def percentile(self, share: float) -> npt.NDArray[np.float64]:
        rank = np.maximum(1, np.ceil(share * self.cumulated[:, -1:]))
        times: npt.NDArray[np.float64] = self.times[(self.cumulated >= rank).argmax(axis=1)]
        return times


def drawn_seconds(count: int, dice: np.random.Generator) -> npt.NDArray[np.int64]:
    """How often each second is in each of the RESAMPLES; the first follows the last."""
    length = round(math.sqrt(count))
    blocks = math.ceil(count / length)
    begins = dice.integers(count, size=(RESAMPLES, blocks))
    places = (begins[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :count] % count
    weights = np.zeros((RESAMPLES, count), dtype=np.int64)
    np.add.at(weights, (np.arange(RESAMPLES)[:, None], places), 1)
    return weights


def share_of_errors(outcome: LoadResult) -> float:
    return outcome.errors.total() / outcome.offered


def html(a: Result, b: Result, differences: list[MetricDifference], tolerance: float) -> str:
    css_class = colour(any(one.worse for one in differences), any(one.unsure or one.needed for one in differences))
    ratios = {
        one.name: (one.low, one.estimate, one.high, one.worse)
        for one in differences
        if one.name != "errors" and not one.needed
    }
    rows = [
        [escape(one.name), written(one)(one.a), written(one)(one.b),
         f"{one.low:+.3%} to {one.high:+.3%}" if one.name == "errors" else f"{one.low:.2f}× to {one.high:.2f}×"
         if not one.needed else "too few requests",
         f"{one.evidence.against:.3g}" if one.evidence and one.evidence.against is not None else "–",
         "–" if one.needed else f"<span class='{colour(one.worse, one.unsure)}'>{one.sign}</span>"]
        for one in differences
    ]  # fmt: skip
    pictures = [
        drawing.intervals("B's latency, divided by A's (grey: the tolerance)", ratios, tolerance) if ratios else "",
        drawing.lines("Share of requests by latency", {"A": cumulated(a), "B": cumulated(b)},
                      lambda value: f"{value:.0%}", slo.seconds),
    ]  # fmt: skip
    return report.page(
        "Comparison of two load tests",
        f"<h1>Two load tests, side by side</h1><p class='faint'>A: {who(a)}<br>B: {who(b)}</p>"
        f"<p class='verdict {css_class}'>{verdict(differences)}</p>"
        + report.table(["", "A", "B", "difference, 95 % confidence", "e-value against B", ""], rows)
        + f"<h2>Pictures</h2><div class='pictures'>{''.join(pictures)}</div>"
        f"<p class='faint'>Worse: an e-value of {BOUND:.0f} or more for B being more than {tolerance:.0%} slower, or "
        f"having {FAILING.margin:g} times A's errors. Intervals: bootstrap over seconds, {RESAMPLES:,} draws.</p>",
    )


def written(one: MetricDifference) -> Callable[[float], str]:
    return "{:.3%}".format if one.name == "errors" else slo.seconds


def who(one: Result) -> str:
    return escape(f"{one.model} version {one.model_version}, {one.url}, {one.protocol}, {one.rps:g}/s, {one.when}")


def cumulated(one: Result) -> list[tuple[float, float]]:
    """Up to P99.5: the slowest ones would leave no room for the others."""
    latencies = one.outcome.latencies
    points, seen = [], 0
    for step in sorted(latencies.steps):
        seen += latencies.steps[step]
        points.append((middle(step), seen / latencies.count))
        if seen > 0.995 * latencies.count:
            break
    return points
