"""Service level objectives such as `p95=500ms,errors=0.1%`, and whether they were met."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loadtest.histogram import Histogram
from loadtest.target import UnusableTarget

DEFAULT = "p50=100ms,p95=500ms,p99=1s,errors=0.1%"
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
EXPECTED = f"expected something like {DEFAULT}; besides pNN there are mean, max and errors"
LATENCY = re.compile(r"(p\d{1,2}(?:\.\d+)?|mean|max)=(\d+(?:\.\d+)?)(us|ms|s|m)")
ERRORS = re.compile(r"errors=(\d+(?:\.\d+)?)%")


@dataclass(frozen=True, slots=True)
class Objective:
    name: str
    limit: float
    """Seconds, or a share of the requests."""

    def measured(self, latencies: Histogram, requests: int, errors: int) -> float | None:
        """The measured value; None if there is none."""
        if self.name == "errors":
            return errors / requests if requests else None
        if not latencies.count:
            return None
        if self.name == "mean":
            return latencies.mean
        return latencies.highest if self.name == "max" else latencies.percentile(float(self.name[1:]) / 100)

    def written(self, value: float | None) -> str:
        if value is None:
            return "no response"
        return f"{value:.3%}" if self.name == "errors" else seconds(value)


@dataclass(frozen=True, slots=True)
class Check:
    """One objective and its measured value."""

    objective: Objective
    measured: float | None

    @property
    def kept(self) -> bool:
        return self.measured is not None and self.measured <= self.objective.limit

    def __str__(self) -> str:
        sign = "within" if self.kept else "NOT within"
        name, written = self.objective.name, self.objective.written
        return f"{name} {written(self.measured)}: {sign} {written(self.objective.limit)}"


def parse(text: str) -> tuple[Objective, ...]:
    objectives: dict[str, Objective] = {}
    for part in text.replace(" ", "").split(","):
        if match := LATENCY.fullmatch(part):
            objective = Objective(match[1], float(match[2]) * UNITS[match[3]])
        elif (match := ERRORS.fullmatch(part)) and float(match[1]) <= 100:
            objective = Objective("errors", float(match[1]) / 100)
        else:
            raise UnusableTarget(f"--slo: {part!r} is not understood: {EXPECTED}")
        if objective.name in objectives:
            raise UnusableTarget(f"--slo: {objective.name} is given twice")
        objectives[objective.name] = objective
    return tuple(objectives.values())


def seconds(value: float) -> str:
    """A time with the unit that fits."""
    if not value:
        return "0"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s"
