"""Prometheus queries for scaling: there is one pod for each threshold in the value of a query."""

from __future__ import annotations

import math
from dataclasses import dataclass

from generator.plan import ManifestPlan
from generator.spec.scaling import Latency
from generator.spec.values import seconds

QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}


@dataclass(frozen=True, slots=True)
class PromQuery:
    query: str
    threshold: str
    """A plain number; KEDA accepts neither 500m nor 1k."""


def queries(plan: ManifestPlan) -> list[PromQuery]:
    """The queries of the scaling rules."""
    scaling, pods, window = plan.scaling, selector(plan), rate_window(plan)
    rules = []
    if scaling.rps is not None:
        rules.append(PromQuery(f"sum(rate(model_predictions_total{pods}[{window}]))", str(scaling.rps)))
    if scaling.concurrency is not None:
        query = f"sum(avg_over_time(model_requests_in_flight{pods}[{window}]))"
        rules.append(PromQuery(query, str(scaling.concurrency)))
    if scaling.latency is not None:
        rules.append(latency(scaling.latency, pods, window))
    return rules + [PromQuery(query_.query, f"{query_.threshold:.15g}") for query_ in scaling.queries]


def latency(rule: Latency, pods: str, recently: str) -> PromQuery:
    """The latency in milliseconds, times the number of pods, by which a HorizontalPodAutoscaler divides it again.

    Without requests the quantile is NaN, which the comparison drops.
    """
    buckets = f"sum by (le) (rate(model_prediction_latency_seconds_bucket{pods}[{recently}]))"
    quantile = f"1000 * histogram_quantile({QUANTILES[rule.quantile]}, {buckets})"
    return PromQuery(f"{quantile} * count(model_loaded{pods} == 1) > 0", f"{1000 * seconds(rule.below):.15g}")


def selector(plan: ManifestPlan) -> str:
    """The pods of the stable predictor only; those of a canary are not scaled."""
    labels = {"namespace": plan.spec.namespace, "model_name": plan.model_name}
    exactly = [f'{name}="{value}"' for name, value in labels.items()]
    return "{" + ",".join([*exactly, f'pod=~"{plan.workload}-.+"']) + "}"


def rate_window(plan: ManifestPlan) -> str:
    """A window long enough for a rate even if a scrape is missed."""
    return f"{max(60, math.ceil(4 * seconds(plan.spec.monitoring.interval)))}s"
