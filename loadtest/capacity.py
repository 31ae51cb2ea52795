"""Searches the highest rate that meets the SLO: doubles until it misses (or halves until it meets), then bisects."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtest.measuring import MeasuringPlan, measure
from loadtest.outcome import LATE_SECONDS
from loadtest.results import Result

PRECISION = 0.05
"""The search ends when the rates that met and missed the SLO are as close as this."""
MIN_REQUESTS = 10
"""Requests per probe: a percentile of fewer says nothing."""
KIND = "mlflow-kserve capacity"


@dataclass(slots=True)
class Capacity:
    rps: float = 0.0
    """The highest rate that met the SLO; 0 if none did."""
    missed: float = 0.0
    """The lowest rate that missed it; 0 if none did."""
    slo: str = ""
    late: bool = False
    """The load generator was late, so that the miss may be its fault."""
    tries: list[dict[str, Any]] = field(default_factory=list)

    def note(self, rate: float, result: Result) -> None:
        self.tries.append({"rps": rate, "kept": result.kept, "checks": [str(one) for one in result.checks]})
        if result.kept:
            self.rps = rate
        else:
            self.missed, self.late = rate, result.outcome.late >= LATE_SECONDS

    def line(self, pods: int) -> str:
        behind = "" if pods == 1 else f" with {pods} pods"
        if not self.rps:
            return f"not even {self.missed:g} requests per second met {self.slo}: {'; '.join(self.tries[-1]['checks'])}"
        more = "the highest rate tried" if not self.missed else f"{self.missed:g} did not"
        if self.late:
            more += ", but the load generator itself was late: on its own machine it may be more"
        return f"capacity{behind}: {self.rps:g} requests per second met {self.slo} ({more})"

    def pods(self, target: float, pods: int, headroom: float) -> int:
        return math.ceil(target / (self.rps / pods * (1 - headroom)))

    def pods_line(self, target: float, pods: int, headroom: float) -> str:
        needed = self.pods(target, pods, headroom)
        return f"{target:g} requests per second need {needed} pod(s), {headroom:.0%} of each kept free"

    def write(self, file: Path, target: float | None, pods: int, headroom: float) -> None:
        needed = self.pods(target, pods, headroom) if target and self.rps else None
        more = {"target_rps": target, "pods_tested": pods, "headroom": headroom, "pods_needed": needed}
        values = {"rps": self.rps, "missed_rps": self.missed or None, "slo": self.slo, "generator_late": self.late}
        content = {"kind": KIND, "version": 1, **values, **more, "tries": self.tries}
        file.write_text(json.dumps(content, indent=1) + "\n")


def search(plan: MeasuringPlan, start: float, max_rate: float, capacity: Capacity) -> None:
    """Adds each probe to `capacity`."""
    quiet = replace(plan, say=lambda line: None)

    def probe(rate: float) -> None:
        result = measure(replace(quiet, rps=rate))
        if result.stopped is not None:
            raise KeyboardInterrupt
        capacity.note(rate, result)
        plan.say(f"{rate:6.0f}/s {'met' if result.kept else 'missed'}: {'; '.join(map(str, result.checks))}")

    rate = start
    while not capacity.missed and rate <= max_rate:
        probe(rate)
        rate = max_rate if rate < max_rate < 2 * rate else 2 * rate
    least = max(1.0, MIN_REQUESTS / plan.duration)
    while capacity.missed > least and not capacity.rps:
        probe(max(round(capacity.missed / 2, 1), least))
    while capacity.missed and capacity.rps and capacity.missed / capacity.rps > 1 + PRECISION:
        probe(round(math.sqrt(capacity.rps * capacity.missed), 2))
