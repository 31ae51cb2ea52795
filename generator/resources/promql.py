"""The questions to Prometheus whose answers are shared by the pods: each pod may have as much as the threshold."""

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
    """A plain number: KEDA reads neither 500m nor 1k."""


def queries(plan: ManifestPlan) -> list[PromQuery]:
    """All that the rules ask of Prometheus."""
    wanted, pods, recently = plan.scaling, selector(plan), rate_window(plan)
    rules = []
    if wanted.rps is not None:
        rules.append(PromQuery(f"sum(rate(model_predictions_total{pods}[{recently}]))", str(wanted.rps)))
    if wanted.concurrency is not None:
        query = f"sum(avg_over_time(model_requests_in_flight{pods}[{recently}]))"
        rules.append(PromQuery(query, str(wanted.concurrency)))
    if wanted.latency is not None:
        rules.append(latency(wanted.latency, pods, recently))
    return rules + [PromQuery(said.query, f"{said.threshold:.15g}") for said in wanted.queries]


def latency(wanted: Latency, pods: str, recently: str) -> PromQuery:
    """In milliseconds, times the number of pods, by which a HorizontalPodAutoscaler divides it again.

    Without requests there is no quantile but NaN, which the comparison leaves out.
    """
    buckets = f"sum by (le) (rate(model_prediction_latency_seconds_bucket{pods}[{recently}]))"
    quantile = f"1000 * histogram_quantile({QUANTILES[wanted.quantile]}, {buckets})"
    return PromQuery(f"{quantile} * count(model_loaded{pods} == 1) > 0", f"{1000 * seconds(wanted.below):.15g}")


def selector(plan: ManifestPlan) -> str:
    """The pods of the stable predictor alone: those of a canary are not what is scaled."""
    labels = {"namespace": plan.spec.namespace, "model_name": plan.spec.name}
    exactly = [f'{name}="{value}"' for name, value in labels.items()]
    return "{" + ",".join([*exactly, f'pod=~"{plan.workload}-.+"']) + "}"


def rate_window(plan: ManifestPlan) -> str:
    """Long enough for a rate even when a scrape is missed."""
    return f"{max(60, math.ceil(4 * seconds(plan.spec.monitoring.interval)))}s"
