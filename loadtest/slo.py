"""What is promised: `p95=500ms,errors=0.1%`, and whether it was kept."""

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

    def found(self, latencies: Histogram, requests: int, errors: int) -> float | None:
        """None where nothing was measured."""
        if self.name == "errors":
            return errors / requests if requests else None
        if not latencies.count:
            return None
        if self.name == "mean":
            return latencies.mean
        return latencies.highest if self.name == "max" else latencies.percentile(float(self.name[1:]) / 100)

    def written(self, value: float | None) -> str:
        if value is None:
            return "nothing was answered"
        return f"{value:.3%}" if self.name == "errors" else seconds(value)


@dataclass(frozen=True, slots=True)
class Check:
    """One objective and what became of it."""

    objective: Objective
    found: float | None

    @property
    def kept(self) -> bool:
        return self.found is not None and self.found <= self.objective.limit

    def __str__(self) -> str:
        sign = "within" if self.kept else "NOT within"
        name, written = self.objective.name, self.objective.written
        return f"{name} {written(self.found)}: {sign} {written(self.objective.limit)}"


def parse(text: str) -> tuple[Objective, ...]:
    made: dict[str, Objective] = {}
    for part in text.replace(" ", "").split(","):
        if found := LATENCY.fullmatch(part):
            objective = Objective(found[1], float(found[2]) * UNITS[found[3]])
        elif (found := ERRORS.fullmatch(part)) and float(found[1]) <= 100:
            objective = Objective("errors", float(found[1]) / 100)
        else:
            raise UnusableTarget(f"--slo: {part!r} is not understood: {EXPECTED}")
        if objective.name in made:
            raise UnusableTarget(f"--slo: {objective.name} is there twice")
        made[objective.name] = objective
    return tuple(made.values())


def seconds(value: float) -> str:
    """A time with the unit that fits."""
    if not value:
        return "0"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s"
