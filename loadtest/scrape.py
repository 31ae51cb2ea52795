"""The server's own metrics before, during and after a test."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtest.histogram import SHARES

LATENCY = "model_prediction_latency_seconds_bucket"
TOTALS = ("model_predictions_total", "model_prediction_errors_total", "model_requests_refused_total")
LEVELS = ("model_requests_in_flight", "model_requests_waiting")


def read(text: str, model: str) -> dict[str, Any]:
    """The metrics of one model that the report needs, as plain values."""
    values: dict[str, Any] = {"buckets": Counter(), "errors": Counter(), "refused": Counter(), "versions": []}
    values |= dict.fromkeys((*TOTALS, *LEVELS), 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, labels, value = sample.name, sample.labels, sample.value
            if labels.get("model_name") != model:
                continue
            if name == LATENCY:
                values["buckets"][labels["le"]] += value
            elif name in (*TOTALS, *LEVELS):
                values[name] += value
                if name == "model_prediction_errors_total":
                    values["errors"][labels["error_type"]] += value
                elif name == "model_requests_refused_total":
                    values["refused"][labels["reason"]] += value
            elif name == "model_loaded" and value == 1:
                values["versions"].append(labels["model_version"])
    return values


def difference(scrapes: list[tuple[float, str]], model: str) -> dict[str, Any]:
    """The server's counters between the first and the last scrape, and its queues in between."""
    parsed = [(at, read(text, model)) for at, text in scrapes]
    first, last = parsed[0][1], parsed[-1][1]
    counted = {kind: last[kind] - first[kind] for kind in TOTALS}
    if min(counted.values()) < 0:
        return {"missing": "the counters went down: another pod answered, or the server restarted"}
    buckets = {float(le): count - first["buckets"][le] for le, count in last["buckets"].items()}
    return {
        "predictions": counted["model_predictions_total"],
        "errors": {kind: count - first["errors"][kind] for kind, count in last["errors"].items()},
        "refused": {kind: count - first["refused"][kind] for kind, count in last["refused"].items()},
        "latency": {name: quantile(buckets, share) for name, share in SHARES.items()},
        "versions": sorted({*first["versions"], *last["versions"]}),
        "over_time": [
            {"at": at, "in_flight": one["model_requests_in_flight"], "waiting": one["model_requests_waiting"]}
            for at, one in parsed
        ],
    }


def quantile(buckets: dict[float, float], share: float) -> float | None:
    """As Prometheus' histogram_quantile: linear within a bucket."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return None
    rank, below, seen = share * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if math.isinf(bound):
                return below
            return below + (bound - below) * (rank - seen) / (buckets[bound] - seen)
        below, seen = bound, buckets[bound]
    return below
