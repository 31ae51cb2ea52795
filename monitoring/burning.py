"""Burn rate alerts, each over a long and a short window, as in chapter 5 of the SRE Workbook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitoring.objectives import Objectives, with_unit
from monitoring.recording import FAILED, REQUESTS, SLOW
from monitoring.scope import BY, Scope

Rule = dict[str, Any]
MIN_REQUESTS = 20
"""Requests in the long window below which a ratio means nothing."""


@dataclass(frozen=True, slots=True)
class BurnRate:
    """A multiple of the rate at which the budget of 30 days would just be spent."""

    factor: float
    long: str
    short: str
    hold: str
    severity: str
    spent: str


BURN_RATES = (
    BurnRate(14.4, "1h", "5m", "2m", "page", "2 % of a month's budget in an hour"),
    BurnRate(6, "6h", "30m", "15m", "page", "5 % of a month's budget in six hours"),
    BurnRate(1, "3d", "6h", "1h", "ticket", "10 % of a month's budget in three days"),
)
SECONDS = {"1h": 3600, "6h": 21_600, "3d": 259_200}


def burning(scope: Scope, objectives: Objectives) -> list[Rule]:
    rules = []
    if objectives.budget is not None:
        objective = f"{objectives.availability:g} % of the requests succeed"
        rules += burn_rate_alerts(
            scope, "ModelAvailabilityBurn", FAILED, "availability", objectives.budget, "fail", objective, []
        )
    for latency in objectives.latencies:
        objective = f"{latency.share:.0%} of the predictions take no longer than {with_unit(latency.seconds)}"
        rules += burn_rate_alerts(
            scope, "ModelLatencyBurn", SLOW, latency.name, latency.budget,
            f"take longer than {with_unit(latency.seconds)}", objective, [f'objective="{latency.name}"'],
        )  # fmt: skip
    return rules


def burn_rate_alerts(
    scope: Scope, alert: str, record: str, objective: str, budget: float, what: str, target: str, labels: list[str]
) -> list[Rule]:
    """A burn rate is left out if it needs more than all requests to be bad."""
    rules = []
    for rate in BURN_RATES:
        limit = rate.factor * budget
        if limit >= 1:
            continue
        over = " and ".join(
            f"max by ({BY}) ({record}{window}{scope.metrics(*labels)}) > {limit:.12g}"
            for window in (rate.long, rate.short)
        )
        enough = f"{REQUESTS}{rate.long}{scope.metrics()} * {SECONDS[rate.long]} >= {MIN_REQUESTS}"
        rules.append(
            {
                "alert": alert,
                "expr": f"{over} and max by ({BY}) ({enough})",
                "for": rate.hold,
                "labels": {"severity": rate.severity, "objective": objective, "window": rate.long},
                "annotations": {
                    "summary": f"{{{{ $labels.model_name }}}} in {{{{ $labels.namespace }}}}: too many requests {what}",
                    "description": (
                        f"{{{{ $value | humanizePercentage }}}} of them in the last {rate.long}, where the objective "
                        f"is that {target}. At this pace it costs {rate.spent}."
                    ),
                },
            }
        )
    return rules
