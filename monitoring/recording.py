"""Recording rules for the ratios that the alerts use, over each of their windows."""

from __future__ import annotations

from typing import Any

from monitoring.objectives import Objectives
from monitoring.scope import BY, Scope

Rule = dict[str, Any]
WINDOWS = ("5m", "30m", "1h", "6h", "3d")
FAULTS = "500|503|504|INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS"
"""Statuses of server errors, in HTTP and in gRPC."""
REQUESTS = "serve:model_requests:rate"
FAILED = "serve:model_requests_failed:ratio_rate"
SLOW = "serve:model_predictions_slow:ratio_rate"


def recording_rules(scope: Scope, objectives: Objectives) -> list[Rule]:
    rules: list[Rule] = [
        {"record": f"{REQUESTS}{window}", "expr": rate("model_requests_total", scope.metrics(), window)}
        for window in WINDOWS
    ]
    if objectives.budget is not None:
        rules += [{"record": f"{FAILED}{window}", "expr": failed(scope, window)} for window in WINDOWS]
    for latency in objectives.latencies:
        rules += [
            {
                "record": f"{SLOW}{window}",
                "expr": slow(scope, latency.le, window),
                "labels": {"objective": latency.name},
            }
            for window in WINDOWS
        ]
    return rules


def rate(series: str, selector: str, window: str) -> str:
    return f"sum by ({BY}) (rate({series}{selector}[{window}]))"


def failed(scope: Scope, window: str) -> str:
    """The share of failed requests, which is zero rather than absent before the first failure."""
    ours = f'status=~"{FAULTS}"'
    faults = rate("model_requests_total", scope.metrics(ours), window)
    every = f"{REQUESTS}{window}{scope.metrics()}"
    return f"({faults} or 0 * {every}) / {every}"


def slow(scope: Scope, le: str, window: str) -> str:
    """The share of predictions that took longer than the bucket."""
    bucket = f'le="{le}"'
    within = rate("model_prediction_latency_seconds_bucket", scope.metrics(bucket), window)
    every = rate("model_prediction_latency_seconds_count", scope.metrics(), window)
    return f"1 - {within} / {every}"
