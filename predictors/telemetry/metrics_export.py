"""Export of this process's metrics to OpenTelemetry, from Prometheus's registry, once a minute.

Imported only if the export is on. Counters are cumulative and keep the name of their family, to which Prometheus adds
`_total` again.
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
PROCESS_START = time.time_ns()


class MetricsExport:
    """A thread that sends the metrics at an interval, and once more at the end."""

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
        from prometheus_client import REGISTRY  # this worker's own values, if there are several

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
        log.warning("OTEL_METRIC_EXPORT_INTERVAL: %r is not a number of milliseconds; using one minute", text)
    return 60


def data(families: Iterable[Any], resource: Resource) -> MetricsData:
    now = time.time_ns()
    metrics = [metric for family in families for metric in converted(family, now)]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])


def converted(family: Any, now: int) -> Iterator[Metric]:
    """A metric for a family of Prometheus, unless it is empty or of another type."""
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
    created = created_times(family)
    for sample in family.samples:
        if sample.name == name:
            yield NumberDataPoint(sample.labels, created.get(key(sample.labels), PROCESS_START), now, sample.value)


def histograms(family: Any, now: int) -> Iterator[HistogramDataPoint]:
    created = created_times(family)
    series: dict[Any, dict[str, Any]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        values = series.setdefault(key(labels), {"labels": labels, "buckets": []})
        if sample.name.endswith("_bucket"):
            values["buckets"].append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            values["sum"] = sample.value
    for labels, values in series.items():
        if not values["buckets"]:
            continue
        bounds, totals = zip(*sorted(values["buckets"]), strict=True)
        # Prometheus counts a value in every bucket that is wide enough, OpenTelemetry in one.
        counts = [totals[0], *(after - before for before, after in pairwise(totals))]
        yield HistogramDataPoint(
            values["labels"], created.get(labels, PROCESS_START), now, totals[-1], values.get("sum", 0.0), counts,
            bounds[:-1], None, None,  # type: ignore[arg-type]  # minimum and maximum are unknown
        )  # fmt: skip


def created_times(family: Any) -> dict[Any, int]:
    """When each series was created, by labels."""
    return {
        key(sample.labels): int(sample.value * 1e9) for sample in family.samples if sample.name.endswith("_created")
    }


def key(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())
