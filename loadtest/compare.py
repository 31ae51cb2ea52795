"""Whether one test was worse than another: a bootstrap over the seconds of both.

Seconds are drawn, not requests: those within one second wait in the same queue, so they are not independent, and a test
that took them as such (Mann-Whitney's, for one) would find differences between two runs of the same server.
Each interval is as wide as four of them together need to be right 95 times out of 100 (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from loadtest import drawing, report, slo
from loadtest.histogram import middle
from loadtest.outcome import Outcome
from loadtest.results import Result
from loadtest.target import Unusable

DRAWS = 2000
CONFIDENCE = 0.95
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ERRORS = 0.001
"""A share of errors that is higher by less than this is no worse."""
LEAST_SECONDS = 5
MOST_STEPS = 2500
"""Of a histogram: more than an hour."""


@dataclass(frozen=True, slots=True)
class Difference:
    name: str
    a: float
    b: float
    low: float
    """Of B's percentile divided by A's, or of B's share of errors minus A's; `low` to `high` is the interval."""
    found: float
    high: float
    worse: bool

    def __str__(self) -> str:
        sign = "WORSE" if self.worse else "not worse"
        if self.name == "errors":
            return f"errors {self.a:.3%} → {self.b:.3%}: {self.low:+.3%} to {self.high:+.3%}: {sign}"
        times = f"{slo.seconds(self.a)} → {slo.seconds(self.b)}"
        return f"{self.name} {times}: {self.low:.2f} to {self.high:.2f} times as long: {sign}"


def compare(a: Result, b: Result, tolerance: float) -> list[Difference]:
    for name in ("protocol", "profile", "rps", "rows"):
        if getattr(a, name) != getattr(b, name):
            raise Unusable(f"the two tests differ in {name}: {getattr(a, name)} and {getattr(b, name)}")
    for label, one in (("A", a), ("B", b)):
        if len(one.outcome.seconds) < LEAST_SECONDS:
            raise Unusable(f"{label} has {len(one.outcome.seconds)} seconds: a comparison needs {LEAST_SECONDS}")
    outside = (1 - CONFIDENCE) / (len(PERCENTILES) + 1)
    ends = [100 * outside / 2, 100 * (1 - outside / 2)]
    dice = np.random.default_rng(0)
    drawn_a, drawn_b = Drawn(a.outcome, dice), Drawn(b.outcome, dice)
    found = []
    for name, share in PERCENTILES.items():
        if not (a.outcome.latencies.count and b.outcome.latencies.count):
            continue
        ours, theirs = a.outcome.latencies.percentile(share), b.outcome.latencies.percentile(share)
        ratios = drawn_b.percentile(share) / drawn_a.percentile(share)
        low, high = np.percentile(ratios, ends)
        found.append(Difference(name, ours, theirs, low, theirs / ours, high, bool(low > 1 + tolerance)))
    before, after = share_of_errors(a.outcome), share_of_errors(b.outcome)
    low, high = np.percentile(drawn_b.errors - drawn_a.errors, ends)
    found.append(Difference("errors", before, after, low, after - before, high, bool(low > ERRORS)))
    return found


class Drawn:
    """A test as it might have been: DRAWS times as many seconds, drawn from its own with replacement."""

    def __init__(self, outcome: Outcome, dice: np.random.Generator) -> None:
        seconds = list(outcome.seconds.values())
        weights = dice.multinomial(len(seconds), [1 / len(seconds)] * len(seconds), size=DRAWS)
        counts = np.zeros((len(seconds), MOST_STEPS), dtype=np.int64)
        for place, one in enumerate(seconds):
            for step, count in one.latencies.steps.items():
                counts[place, min(step, MOST_STEPS - 1)] = count
        used = np.flatnonzero(counts.any(axis=0))
        self.times = np.array([middle(int(step)) for step in used])
        self.cumulated: npt.NDArray[np.int64] = np.cumsum(weights @ counts[:, used], axis=1)
        offered = weights @ np.array([one.offered for one in seconds])
        self.errors: npt.NDArray[np.float64] = weights @ np.array([one.errors.total() for one in seconds]) / offered

    def percentile(self, share: float) -> npt.NDArray[np.float64]:
        wanted = np.maximum(1, np.ceil(share * self.cumulated[:, -1:]))
        found: npt.NDArray[np.float64] = self.times[(self.cumulated >= wanted).argmax(axis=1)]
        return found


def share_of_errors(outcome: Outcome) -> float:
    return outcome.errors.total() / outcome.offered


def html(a: Result, b: Result, found: list[Difference], tolerance: float) -> str:
    worse = any(one.worse for one in found)
    title = "B is worse than A" if worse else "B is not worse than A"
    ratios = {one.name: (one.low, one.found, one.high, one.worse) for one in found if one.name != "errors"}
    rows = [
        [escape(one.name), written(one)(one.a), written(one)(one.b),
         f"{one.low:+.3%} to {one.high:+.3%}" if one.name == "errors" else f"{one.low:.2f}× to {one.high:.2f}×",
         f"<span class='{report.word(not one.worse)}'>{'worse' if one.worse else 'not worse'}</span>"]
        for one in found
    ]  # fmt: skip
    pictures = [
        drawing.intervals("B's latency, divided by A's (grey: the tolerance)", ratios, tolerance) if ratios else "",
        drawing.lines("How many requests took at most as long", {"A": cumulated(a), "B": cumulated(b)},
                      lambda value: f"{value:.0%}", slo.seconds),
    ]  # fmt: skip
    return report.page(
        "Comparison of two load tests",
        f"<h1>Two load tests, side by side</h1><p class='faint'>A: {who(a)}<br>B: {who(b)}</p>"
        f"<p class='verdict {report.word(not worse)}'>{title}</p>"
        + report.table(["", "A", "B", "difference, 95 % sure", ""], rows)
        + f"<h2>Pictures</h2><div class='pictures'>{''.join(pictures)}</div>"
        f"<p class='faint'>Bootstrap over seconds, {DRAWS:,} draws. Worse is what is surely more than {tolerance:.0%} "
        f"slower, or has surely {ERRORS:.1%} more errors.</p>",
    )


def written(one: Difference) -> Callable[[float], str]:
    return "{:.3%}".format if one.name == "errors" else slo.seconds


def who(one: Result) -> str:
    return escape(f"{one.model} version {one.model_version}, {one.url}, {one.protocol}, {one.rps:g}/s, {one.when}")


def cumulated(one: Result) -> list[tuple[float, float]]:
    """Up to P99.5: the last ones would leave no room for the others."""
    latencies = one.outcome.latencies
    points, seen = [], 0
    for step in sorted(latencies.steps):
        seen += latencies.steps[step]
        points.append((middle(step), seen / latencies.count))
        if seen > 0.995 * latencies.count:
            break
    return points
