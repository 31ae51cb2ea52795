"""Alerts on how fast an error budget burns, each over a long and a short window: the SRE Workbook, chapter 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitoring.objectives import Objectives, written
from monitoring.recording import FAILED, REQUESTS, SLOW
from monitoring.scope import BY, Scope

Rule = dict[str, Any]
FEWEST = 20
"""Requests in the long window below which a ratio means nothing."""


@dataclass(frozen=True, slots=True)
class BurnRate:
    """So many times faster than the budget of 30 days allows."""

    factor: float
    long: str
    short: str
    hold: str
    severity: str
    spent: str


PACES = (
    BurnRate(14.4, "1h", "5m", "2m", "page", "2 % of a month's budget in an hour"),
    BurnRate(6, "6h", "30m", "15m", "page", "5 % of a month's budget in six hours"),
    BurnRate(1, "3d", "6h", "1h", "ticket", "10 % of a month's budget in three days"),
)
SECONDS = {"1h": 3600, "6h": 21_600, "3d": 259_200}


def burning(scope: Scope, objectives: Objectives) -> list[Rule]:
    found = []
    if objectives.budget is not None:
        promise = f"{objectives.availability:g} % of the requests succeed"
        found += paced(scope, "ModelAvailabilityBurn", FAILED, "availability", objectives.budget, "fail", promise, [])
    for latency in objectives.latencies:
        promise = f"{latency.share:.0%} of the predictions take no longer than {written(latency.seconds)}"
        found += paced(
            scope, "ModelLatencyBurn", SLOW, latency.name, latency.budget,
            f"take longer than {written(latency.seconds)}", promise, [f'objective="{latency.name}"'],
        )  # fmt: skip
    return found


def paced(
    scope: Scope, alert: str, record: str, objective: str, budget: float, what: str, promise: str, labels: list[str]
) -> list[Rule]:
    """A pace is left out if more than all requests would have to be bad for it."""
    found = []
    for pace in PACES:
        limit = pace.factor * budget
        if limit >= 1:
            continue
        over = " and ".join(
            f"max by ({BY}) ({record}{window}{scope.metrics(*labels)}) > {limit:.12g}"
            for window in (pace.long, pace.short)
        )
        enough = f"{REQUESTS}{pace.long}{scope.metrics()} * {SECONDS[pace.long]} >= {FEWEST}"
        found.append(
            {
                "alert": alert,
                "expr": f"{over} and max by ({BY}) ({enough})",
                "for": pace.hold,
                "labels": {"severity": pace.severity, "objective": objective, "window": pace.long},
                "annotations": {
                    "summary": f"{{{{ $labels.model_name }}}} in {{{{ $labels.namespace }}}}: too many requests {what}",
                    "description": (
                        f"{{{{ $value | humanizePercentage }}}} of them in the last {pace.long}, where the objective "
                        f"is that {promise}. At this pace it costs {pace.spent}."
                    ),
                },
            }
        )
    return found
