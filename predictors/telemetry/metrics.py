"""Prometheus metrics of the predictor, right with any number of worker processes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from typing import Any

from predictors.telemetry.gauges import Labels, Measured, Published, publish

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
MODEL_LABELS = ("model_name", "model_version")
RELOAD_OUTCOMES = ("loaded", "reverted", "failed", "registry_error")
LATENCY_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
)  # fmt: skip
ROW_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)


def share_between_processes() -> None:
    """Must run before prometheus_client is first imported: it decides then where values are kept."""
    if MULTIPROCESS_DIR not in os.environ:
        folder = tempfile.mkdtemp(prefix="mlflow-kserve-metrics-")
        os.environ[MULTIPROCESS_DIR] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)  # workers leave without this


class Metrics:
    """All metrics; the names are a contract with dashboards and alerts."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self.predictions = Counter(
            "model_predictions", "Prediction requests that reached the model, failed ones included", MODEL_LABELS
        )
        self.latency = Histogram(
            "model_prediction_latency_seconds",
            "Time from the whole request body to the encoded reply, of predictions that succeeded",
            MODEL_LABELS,
            buckets=LATENCY_BUCKETS,
        )
        self.errors = Counter(
            "model_prediction_errors",
            "Prediction requests that were answered with an error",
            (*MODEL_LABELS, "error_type"),
        )
        self.loaded = Gauge(
            "model_loaded",
            "Whether the model is loaded and answers (1) or not (0)",
            MODEL_LABELS,
            multiprocess_mode="livemostrecent",
        )
        self.requests = Counter(
            "model_requests",
            "Requests to prediction routes by protocol and status",
            ("model_name", "protocol", "status"),
        )
        self.rows = Histogram("model_request_rows", "Rows per prediction request", MODEL_LABELS, buckets=ROW_BUCKETS)
        self.in_flight = Gauge(
            "model_requests_in_flight",
            "Prediction requests being answered",
            ("model_name",),
            multiprocess_mode="livesum",
        )
        self.refused = Counter(
            "model_requests_refused",
            "Prediction requests that were refused because the server is overloaded",
            ("model_name", "reason"),
        )
        self.waiting = Gauge(
            "model_requests_waiting",
            "Prediction requests that wait for a thread or for the next batch",
            ("model_name",),
            multiprocess_mode="livesum",
        )
        self.held = Gauge(
            "model_requests_bytes",
            "Bytes of prediction requests that are arriving or being answered",
            ("model_name",),
            multiprocess_mode="livesum",
        )
        self.wait = Gauge(
            "model_expected_wait_seconds",
            "How long a prediction request that came now would wait for its turn",
            ("model_name",),
            multiprocess_mode="livemax",
        )
        self.load_seconds = Gauge(
            "model_load_seconds", "Time that loading the model took", MODEL_LABELS, multiprocess_mode="livemax"
        )
        self.engine = Gauge(
            "model_engine",
            "What computes the predictions, and why nothing faster does; 1 for what is served, 0 for what was",
            (*MODEL_LABELS, "engine", "reason"),
            multiprocess_mode="livemax",
        )
        self.info = Gauge(
            "model_info",
            "What is served (1), and what was before (0)",
            (*MODEL_LABELS, "flavor", "uri", "run_id", "mlflow_version"),
            multiprocess_mode="livemax",
        )
        self.reloads = Counter(
            "model_reloads",
            "Changes of what is served: loaded, reverted, failed (another version keeps serving), registry_error",
            ("model_name", "outcome"),
        )
        self.reload_failing = Gauge(
            "model_reload_failing",
            "Whether the version that should be served cannot be (1)",
            ("model_name",),
            multiprocess_mode="livemax",
        )
        self.log_records = Counter(
            "model_prediction_log_records",
            "Sampled requests: written to the prediction log, dropped (its queue is full), failed (it took no more)",
            ("model_name", "result"),
        )
        self.log_queue = Gauge(
            "model_prediction_log_queue",
            "Sampled requests that wait to be written to the prediction log",
            ("model_name",),
            multiprocess_mode="livesum",
        )

        self.feature_lookup = Histogram(
            "model_feature_lookup_seconds",
            "Time that looking up the features of a request took, with what was kept from earlier ones",
            ("model_name",),
            buckets=LATENCY_BUCKETS,
        )
        self.feature_values = Counter(
            "model_feature_values",
            "Features of entities that were looked up: found, null, missing (no such entity) or stale",
            ("model_name", "feature", "result"),
        )
        self.feature_failures = Counter(
            "model_feature_lookups_failed",
            "Lookups to which Feast gave no answer: timeout, unreachable, error or circuit_open",
            ("model_name", "reason"),
        )
        self.feature_cache = Counter(
            "model_feature_cache",
            "Entities that were found among those kept from earlier requests (hit), or not (miss)",
            ("model_name", "result"),
        )
        self.feature_circuit = Gauge(
            "model_feature_circuit_open",
            "Whether Feast is left alone for a while because it kept failing (1)",
            ("model_name",),
            multiprocess_mode="livemax",
        )
        features, outputs = (*MODEL_LABELS, "feature"), (*MODEL_LABELS, "output")
        self.feature_psi = Measured(
            "model_feature_psi",
            "How far an input has moved from the drift profile: population stability index of the window",
            features,
        )
        self.feature_missing = Measured(
            "model_feature_missing_ratio", "Share of rows of the window in which an input is missing", features
        )
        self.prediction_psi = Measured(
            "model_prediction_psi",
            "How far an output has moved from the drift profile: population stability index of the window",
            outputs,
        )
        self.drift_window_rows = Measured(
            "model_drift_window_rows", "Rows in the window that drift is measured over", MODEL_LABELS
        )
        self.prediction_quantile = Measured(
            "model_prediction_quantile", "Quantiles of a numeric output in the window", (*outputs, "quantile")
        )
        self.prediction_share = Measured(
            "model_prediction_share", "Share of each class among the predictions of the window", (*outputs, "value")
        )


class ModelCounters:
    """What is counted for every request of one version of a model, looked up once."""

    def __init__(self, name: str, version: str) -> None:
        all_of_them, self.labels = metrics(), (name, version)
        self.errors = all_of_them.errors
        self.in_flight = all_of_them.in_flight.labels(name)
        self.predictions = all_of_them.predictions.labels(*self.labels)
        self.latency = all_of_them.latency.labels(*self.labels)
        self.rows = all_of_them.rows.labels(*self.labels)

    def succeeded(self, seconds: float, rows: int) -> None:
        self.latency.observe(seconds)
        self.rows.observe(rows)

    def failed(self, kind: str) -> None:
        self.errors.labels(*self.labels, kind).inc()


@cache
def metrics() -> Metrics:
    return Metrics()


def publish_drift(model_name: str, found: Mapping[str, Mapping[Labels, float]]) -> None:
    """What is known of a model's drift now, by attribute of `Metrics`; whatever is not among it is gone."""
    every = {name: one for name, one in vars(metrics()).items() if isinstance(one, Measured)}
    samples = {one: found.get(name, {}) for name, one in every.items()}
    publish(model_name, samples, os.environ.get(MULTIPROCESS_DIR))


@cache
def request_counter(name: str, protocol: str, status: int | str) -> Any:
    return metrics().requests.labels(name, protocol, str(status))


@cache
def refusal_counter(name: str, reason: str) -> Any:
    return metrics().refused.labels(name, reason)


@cache
def waiting_gauges(name: str) -> tuple[Any, Any, Any]:
    """Requests that wait, bytes that are held, and seconds that one more would wait."""
    all_of_them = metrics()
    return all_of_them.waiting.labels(name), all_of_them.held.labels(name), all_of_them.wait.labels(name)


def are_shared() -> bool:
    """Whether values are kept in files. The variable may have been set too late, as Feast does."""
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
        gauges = [one for one in vars(metrics()).values() if isinstance(one, Measured)]
        registry.register(Published(os.environ[MULTIPROCESS_DIR], gauges))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


def forget_process(pid: int) -> None:
    """Takes the gauges of a process that has ended out of the sums."""
    from prometheus_client.multiprocess import mark_process_dead

    if are_shared():
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
