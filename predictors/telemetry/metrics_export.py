"""The metrics of this process as OpenTelemetry has them: read from where Prometheus reads them, sent every minute.

Only imported where it is switched on. Totals stay totals (cumulative), names are the families' own: Prometheus adds
`_total` to counters again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

log = logging.getLogger("predictors")

CUMULATIVE = AggregationTemporality.CUMULATIVE
SCOPE = InstrumentationScope("mlflow-kserve")
UNITS = {"_seconds": "s", "_bytes": "By"}
BORN = time.time_ns()


class MetricsExport:
    """A thread that sends the metrics now and then, and once more at the end."""

    def __init__(self, resource: Resource, exporter: MetricExporter) -> None:
        self.resource = resource
        self.exporter = exporter
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, name="metrics", daemon=True)
        self.thread.start()

    def run(self) -> None:
        seconds = interval()
        while not self.ended.wait(seconds):
            self.send()
        self.send()

    def send(self) -> None:
        from prometheus_client import REGISTRY  # with several workers, too, it holds the values of this one

        try:
            self.exporter.export(data(REGISTRY.collect(), self.resource))
        except Exception:
            log.warning("metrics could not be exported", exc_info=True)

    def close(self) -> None:
        self.ended.set()
        self.thread.join()
        self.exporter.shutdown()


def interval() -> float:
    """Seconds between exports."""
    text = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    if text.isdigit() and int(text) > 0:
        return int(text) / 1000
    if text:
        log.warning("OTEL_METRIC_EXPORT_INTERVAL: %r is no number of milliseconds; taking a minute", text)
    return 60


def data(families: Iterable[Any], resource: Resource) -> MetricsData:
    now = time.time_ns()
    metrics = [metric for family in families for metric in converted(family, now)]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])


def converted(family: Any, now: int) -> Iterator[Metric]:
    """One family of Prometheus' as at most one metric."""
    if family.type == "histogram":
        content: Any = Histogram(list(histograms(family, now)), CUMULATIVE)
    elif family.type == "counter":
        content = Sum(list(numbers(family, f"{family.name}_total", now)), CUMULATIVE, True)
    elif family.type in ("gauge", "info", "unknown"):
        suffix = "_info" if family.type == "info" else ""
        content = Gauge(list(numbers(family, f"{family.name}{suffix}", now)))
    else:
        return
    if content.data_points:
        unit = next((unit for suffix, unit in UNITS.items() if family.name.endswith(suffix)), "")
        yield Metric(family.name, family.documentation, unit, content)


def numbers(family: Any, name: str, now: int) -> Iterator[NumberDataPoint]:
    born = births(family)
    for sample in family.samples:
        if sample.name == name:
            yield NumberDataPoint(sample.labels, born.get(key(sample.labels), BORN), now, sample.value)


def histograms(family: Any, now: int) -> Iterator[HistogramDataPoint]:
    born = births(family)
    found: dict[Any, dict[str, Any]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        one = found.setdefault(key(labels), {"labels": labels, "buckets": []})
        if sample.name.endswith("_bucket"):
            one["buckets"].append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            one["sum"] = sample.value
    for labels, one in found.items():
        if not one["buckets"]:
            continue
        bounds, totals = zip(*sorted(one["buckets"]), strict=True)
        # Prometheus counts each value in all the buckets that are wide enough, OpenTelemetry in one.
        counts = [totals[0], *(after - before for before, after in pairwise(totals))]
        yield HistogramDataPoint(
            one["labels"], born.get(labels, BORN), now, totals[-1], one.get("sum", 0.0), counts, bounds[:-1],
            None, None,  # type: ignore[arg-type]  # the least and the most are not known
        )  # fmt: skip


def births(family: Any) -> dict[Any, int]:
    """When the counting began, by labels."""
    return {
        key(sample.labels): int(sample.value * 1e9) for sample in family.samples if sample.name.endswith("_created")
    }


def key(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())
