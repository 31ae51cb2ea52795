"""Prometheus metrics of the predictor, correct with any number of worker processes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from predictors.telemetry.gauges import Labels, SharedSnapshot, SnapshotGauge, publish

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram


MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
NAME_LABEL = ("model_name",)
MODEL_LABELS = (*NAME_LABEL, "model_version")
FEATURE_LABELS = (*MODEL_LABELS, "feature")
OUTPUT_LABELS = (*MODEL_LABELS, "output")
RELOAD_OUTCOMES = ("loaded", "reverted", "promoted", "failed", "registry_error")
LATENCY_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
)  # fmt: skip
RATIO_BUCKETS = (0.1, 0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4, 10)
DIFFERENCE_BUCKETS = (0, 1e-9, 1e-6, 1e-4, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 100, 1000, 1e6)
ROW_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)


def share_between_processes() -> None:
    """Must run before prometheus_client is first imported, which decides where values are kept."""
    if MULTIPROCESS_DIR not in os.environ:
        folder = tempfile.mkdtemp(prefix="mlflow-kserve-metrics-")
        os.environ[MULTIPROCESS_DIR] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # workers leave without this


@dataclass(frozen=True)
class MetricSpec:
    """A metric as it is declared; prometheus_client is imported only once there is one to make."""

    kind: str
    name: str
    help: str
    labels: Labels
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        if self.kind == "SnapshotGauge":
            return SnapshotGauge(self.name, self.help, self.labels)
        import prometheus_client

        return getattr(prometheus_client, self.kind)(self.name, self.help, self.labels, **self.options)


# Like dataclasses.field, these say that they return what the attribute of an instance is.


def counter(name: str, help: str, labels: Labels) -> Counter:
    return cast("Counter", MetricSpec("Counter", name, help, labels))


def histogram(name: str, help: str, labels: Labels, buckets: Sequence[float]) -> Histogram:
    return cast("Histogram", MetricSpec("Histogram", name, help, labels, {"buckets": buckets}))


def gauge(name: str, help: str, labels: Labels, across_workers: str) -> Gauge:
    return cast("Gauge", MetricSpec("Gauge", name, help, labels, {"multiprocess_mode": across_workers}))


def snapshot_gauge(name: str, help: str, labels: Labels) -> SnapshotGauge:
    return cast(SnapshotGauge, MetricSpec("SnapshotGauge", name, help, labels))


class Metrics:
    """All metrics; the names are a contract with dashboards and alerts."""

    predictions = counter(
        "model_predictions", "Prediction requests that reached the model, failed ones included", MODEL_LABELS
    )
    latency = histogram(
        "model_prediction_latency_seconds",
        "Time from the whole request body to the encoded reply, of predictions that succeeded",
        MODEL_LABELS,
        LATENCY_BUCKETS,
    )
    errors = counter(
        "model_prediction_errors",
        "Prediction requests that were answered with an error",
        (*MODEL_LABELS, "error_type"),
    )
    loaded = gauge(
        "model_loaded",
        "Whether the model is loaded and answers (1) or not (0)",
        MODEL_LABELS,
        "livemostrecent",
    )
    requests = counter(
        "model_requests",
        "Requests to prediction routes by protocol and status",
        (*NAME_LABEL, "protocol", "status"),
    )
    rows = histogram("model_request_rows", "Rows per prediction request", MODEL_LABELS, ROW_BUCKETS)
    in_flight = gauge("model_requests_in_flight", "Prediction requests being answered", NAME_LABEL, "livesum")
    refused = counter(
        "model_requests_refused",
        "Prediction requests that were refused because the server is overloaded",
        (*NAME_LABEL, "reason"),
    )
    ignored = counter(
        "model_requests_with_ignored_inputs",
        "Requests to /invocations with inputs that the model does not take, and that were ignored",
        (*NAME_LABEL, "kind"),
    )
    waiting = gauge(
        "model_requests_waiting",
        "Prediction requests that wait for a thread or for the next batch",
        NAME_LABEL,
        "livesum",
    )
    held = gauge(
        "model_requests_bytes",
        "Bytes of prediction requests that are arriving or being answered",
        NAME_LABEL,
        "livesum",
    )
    wait = gauge(
        "model_expected_wait_seconds",
        "How long a prediction request that came now would wait for its turn",
        NAME_LABEL,
        "livemax",
    )
    load_seconds = gauge("model_load_seconds", "Time that loading the model took", MODEL_LABELS, "livemax")
    engine = gauge(
        "model_engine",
        "What computes the predictions, and why nothing faster does; 1 for what is served, 0 for what was",
        (*MODEL_LABELS, "engine", "reason"),
        "livemax",
    )
    info = gauge(
        "model_info",
        "What is served (1), and what was before (0)",
        (*MODEL_LABELS, "flavor", "uri", "run_id", "mlflow_version"),
        "livemax",
    )
    reloads = counter(
        "model_reloads",
        "Changes of what is served: loaded, reverted, promoted, failed (another version keeps serving), registry_error",
        (*NAME_LABEL, "outcome"),
    )
    reload_failing = gauge(
        "model_reload_failing", "Whether the version that should be served cannot be (1)", NAME_LABEL, "livemax"
    )
    role = gauge(
        "model_role",
        "What a version is for, model, candidate or shadow: 1 for its role now, 0 for roles it had",
        (*MODEL_LABELS, "role"),
        "livemax",
    )
    shadow_requests = counter(
        "model_shadow_requests",
        "Requests that a candidate was to be asked afterwards: answered, failed, dropped (there was no time for it)",
        (*MODEL_LABELS, "result"),
    )
    shadow_latency = histogram(
        "model_shadow_latency_seconds",
        "Time that a candidate took to answer what the model had been asked",
        MODEL_LABELS,
        LATENCY_BUCKETS,
    )
    shadow_ratio = histogram(
        "model_shadow_latency_ratio",
        "Time that a candidate took for the same rows as the model, divided by the model's",
        MODEL_LABELS,
        RATIO_BUCKETS,
    )
    shadow_labels = counter(
        "model_shadow_labels",
        "Rows for which a candidate predicted the same label as the model, or a different one",
        (*MODEL_LABELS, "result"),
    )
    shadow_difference = histogram(
        "model_shadow_difference",
        "How far a candidate's numbers are from the model's for the same rows",
        MODEL_LABELS,
        DIFFERENCE_BUCKETS,
    )
    log_records = counter(
        "model_prediction_log_records",
        "Sampled requests: written to the prediction log, dropped (its queue is full), failed (it took no more)",
        (*NAME_LABEL, "result"),
    )
    log_queue = gauge(
        "model_prediction_log_queue",
        "Sampled requests that wait to be written to the prediction log",
        NAME_LABEL,
        "livesum",
    )
    feature_lookup = histogram(
        "model_feature_lookup_seconds",
        "Time that looking up the features of a request took, with what was kept from earlier ones",
        NAME_LABEL,
        LATENCY_BUCKETS,
    )
    feature_values = counter(
        "model_feature_values",
        "Features of entities that were looked up: found, null, missing (no such entity) or stale",
        (*NAME_LABEL, "feature", "result"),
    )
    feature_failures = counter(
        "model_feature_lookups_failed",
        "Lookups to which Feast gave no answer: timeout, unreachable, error or circuit_open",
        (*NAME_LABEL, "reason"),
    )
    feature_cache = counter(
        "model_feature_cache",
        "Entities that were found among those kept from earlier requests (hit), or not (miss)",
        (*NAME_LABEL, "result"),
    )
    feature_circuit = gauge(
        "model_feature_circuit_open",
        "Whether Feast is left alone for a while because it kept failing (1)",
        NAME_LABEL,
        "livemax",
    )
    feature_psi = snapshot_gauge(
        "model_feature_psi",
        "How far an input has moved from the drift profile: population stability index of the window",
        FEATURE_LABELS,
    )
    feature_missing = snapshot_gauge(
        "model_feature_missing_ratio", "Share of rows of the window in which an input is missing", FEATURE_LABELS
    )
    prediction_psi = snapshot_gauge(
        "model_prediction_psi",
        "How far an output has moved from the drift profile: population stability index of the window",
        OUTPUT_LABELS,
    )
    drift_window_rows = snapshot_gauge(
        "model_drift_window_rows", "Rows in the window that drift is measured over", MODEL_LABELS
    )
    prediction_quantile = snapshot_gauge(
        "model_prediction_quantile", "Quantiles of a numeric output in the window", (*OUTPUT_LABELS, "quantile")
    )
    prediction_share = snapshot_gauge(
        "model_prediction_share", "Share of each class among the predictions of the window", (*OUTPUT_LABELS, "value")
    )

    def __init__(self) -> None:
        for attribute, spec in vars(Metrics).items():
            if isinstance(spec, MetricSpec):
                setattr(self, attribute, spec.make())


class ModelCounters:
    """The metrics of every request to one version of a model, with their labels looked up once."""

    def __init__(self, name: str, version: str) -> None:
        registered, self.labels = metrics(), (name, version)
        self.errors = registered.errors
        self.in_flight = registered.in_flight.labels(name)
        self.predictions = registered.predictions.labels(*self.labels)
        self.latency = registered.latency.labels(*self.labels)
        self.rows = registered.rows.labels(*self.labels)

    def succeeded(self, seconds: float, rows: int) -> None:
        self.latency.observe(seconds)
        self.rows.observe(rows)

    def failed(self, kind: str) -> None:
        self.errors.labels(*self.labels, kind).inc()


class ShadowCounters:
    """The metrics of a candidate that is asked afterwards."""

    def __init__(self, name: str, version: str) -> None:
        registered, labels = metrics(), (name, version)
        self.requests = {
            result: registered.shadow_requests.labels(*labels, result) for result in ("answered", "failed", "dropped")
        }
        self.labels = {result: registered.shadow_labels.labels(*labels, result) for result in ("same", "different")}
        self.latency = registered.shadow_latency.labels(*labels)
        self.ratio = registered.shadow_ratio.labels(*labels)
        self.difference = registered.shadow_difference.labels(*labels)

    def answered(
        self, seconds: float, model_seconds: float | None, labels: int, different: int, differences: Iterable[float]
    ) -> None:
        """`model_seconds` is what the model took for the same rows, if both were timed."""
        self.requests["answered"].inc()
        self.latency.observe(seconds)
        if model_seconds:
            self.ratio.observe(seconds / model_seconds)
        if labels:
            self.labels["same"].inc(labels - different)
            self.labels["different"].inc(different)
        for difference in differences:
            self.difference.observe(difference)

    def failed(self) -> None:
        self.requests["failed"].inc()

    def dropped(self, requests: int) -> None:
        self.requests["dropped"].inc(requests)


@cache
def metrics() -> Metrics:
    return Metrics()


def publish_drift(model_name: str, readings: Mapping[str, Mapping[Labels, float]]) -> None:
    """Replaces the readings of a model's drift, which come by attribute of `Metrics`; the others are cleared."""
    samples = {gauge: readings.get(attribute, {}) for attribute, gauge in snapshot_gauges().items()}
    publish(model_name, samples, os.environ.get(MULTIPROCESS_DIR))


def snapshot_gauges() -> dict[str, SnapshotGauge]:
    return {attribute: gauge for attribute, gauge in vars(metrics()).items() if isinstance(gauge, SnapshotGauge)}


@cache
def request_counter(name: str, protocol: str, status: int | str) -> Any:
    return metrics().requests.labels(name, protocol, str(status))


@cache
def refusal_counter(name: str, reason: str) -> Any:
    return metrics().refused.labels(name, reason)


@cache
def ignored_counter(name: str, kind: str) -> Any:
    return metrics().ignored.labels(name, kind)


@cache
def waiting_gauges(name: str) -> tuple[Any, Any, Any]:
    """Requests waiting, bytes held, and the seconds that another request would wait."""
    registered = metrics()
    return registered.waiting.labels(name), registered.held.labels(name), registered.wait.labels(name)


def are_shared() -> bool:
    """Whether values are kept in files. Feast sets the variable too, but too late for that."""
    from prometheus_client import values

    return values.ValueClass is not values.MutexValue


def exposition(accept: str) -> tuple[bytes, str]:
    """The metrics of all processes, in the format that the scraper accepts, and its content type."""
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.multiprocess import MultiProcessCollector

    registry: Any = REGISTRY
    if are_shared():
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        registry.register(SharedSnapshot(os.environ[MULTIPROCESS_DIR], snapshot_gauges().values()))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


def answers_by_version(name: str) -> dict[str, dict[str, int]]:
    """Requests and errors by version of a model, of all processes together."""
    answers: dict[str, dict[str, int]] = {}
    registered = metrics()
    names = {"model_predictions_total": "requests", "model_prediction_errors_total": "errors"}
    for metric in all_processes([registered.predictions, registered.errors]):
        for sample in metric.samples:
            count, labels = names.get(sample.name), sample.labels
            if count is not None and labels["model_name"] == name:
                version = answers.setdefault(labels["model_version"], {"requests": 0, "errors": 0})
                version[count] += int(sample.value)
    return answers


def shadow_counts(name: str, version: str) -> dict[str, int]:
    """Requests that a candidate was asked afterwards, and rows whose labels were compared, by result."""
    registered, counts = metrics(), {}
    names = ("model_shadow_requests_total", "model_shadow_labels_total")
    for metric in all_processes([registered.shadow_requests, registered.shadow_labels]):
        for sample in metric.samples:
            labels = sample.labels
            if sample.name in names and (labels["model_name"], labels["model_version"]) == (name, version):
                counts[labels["result"]] = int(sample.value)
    return counts


def all_processes(collected: Iterable[Any]) -> Iterator[Any]:
    """The samples of these metrics, summed over the processes."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if are_shared():
        yield from MultiProcessCollector(CollectorRegistry()).collect()  # type: ignore[no-untyped-call]
    else:
        for one in collected:
            yield from one.collect()


def forget_process(pid: int) -> None:
    """Removes the gauges of a process that has ended from the sums."""
    from prometheus_client.multiprocess import mark_process_dead

    if are_shared():
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
