"""The highest rate that still meets the SLO: doubled until it does not (or halved until it does), then in between."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtest.measuring import MeasuringPlan, measure
from loadtest.outcome import LATE
from loadtest.results import Result

EXACT = 0.05
"""The search ends when the rates that met and missed the SLO are as close as this."""
LEAST_REQUESTS = 10
"""In a try: of fewer a percentile says nothing."""
KIND = "mlflow-kserve capacity"


@dataclass(slots=True)
class Capacity:
    rps: float = 0.0
    """The highest rate that met the SLO; 0 if none did."""
    missed: float = 0.0
    """The lowest one that did not; 0 if all did."""
    slo: str = ""
    late: bool = False
    """What was missed was the load generator's fault, perhaps."""
    tries: list[dict[str, Any]] = field(default_factory=list)

    def note(self, rate: float, found: Result) -> None:
        self.tries.append({"rps": rate, "kept": found.kept, "checks": [str(one) for one in found.checks]})
        if found.kept:
            self.rps = rate
        else:
            self.missed, self.late = rate, found.outcome.late >= LATE

    def line(self, pods: int) -> str:
        behind = "" if pods == 1 else f" with {pods} pods"
        if not self.rps:
            return f"not even {self.missed:g} requests a second met {self.slo}: {'; '.join(self.tries[-1]['checks'])}"
        more = "the highest that was tried" if not self.missed else f"{self.missed:g} did not"
        if self.late:
            more += ", but the load generator was late itself: it may be more from a machine of its own"
        return f"capacity{behind}: {self.rps:g} requests a second met {self.slo} ({more})"

    def pods(self, target: float, pods: int, headroom: float) -> int:
        return math.ceil(target / (self.rps / pods * (1 - headroom)))

    def pods_line(self, target: float, pods: int, headroom: float) -> str:
        needed = self.pods(target, pods, headroom)
        return f"{target:g} requests a second need {needed} pod(s), {headroom:.0%} of each kept free"

    def write(self, file: Path, target: float | None, pods: int, headroom: float) -> None:
        needed = self.pods(target, pods, headroom) if target and self.rps else None
        more = {"target_rps": target, "pods_tested": pods, "headroom": headroom, "pods_needed": needed}
        values = {"rps": self.rps, "missed_rps": self.missed or None, "slo": self.slo, "generator_late": self.late}
        content = {"kind": KIND, "version": 1, **values, **more, "tries": self.tries}
        file.write_text(json.dumps(content, indent=1) + "\n")


def search(plan: MeasuringPlan, start: float, most: float, found: Capacity) -> None:
    """Notes in `found` what it tries."""
    quiet = replace(plan, say=lambda line: None)

    def tried(rate: float) -> None:
        result = measure(replace(quiet, rps=rate))
        if result.stopped is not None:
            raise KeyboardInterrupt
        found.note(rate, result)
        plan.say(f"{rate:6.0f}/s {'met' if result.kept else 'missed'}: {'; '.join(map(str, result.checks))}")

    rate = start
    while not found.missed and rate <= most:
        tried(rate)
        rate = most if rate < most < 2 * rate else 2 * rate
    least = max(1.0, LEAST_REQUESTS / plan.duration)
    while found.missed > least and not found.rps:
        tried(max(round(found.missed / 2, 1), least))
    while found.missed and found.rps and found.missed / found.rps > 1 + EXACT:
        tried(round(math.sqrt(found.rps * found.missed), 2))
