"""Every metric of the predictor. A test compares this list with the predictor's modules, in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MODEL = ("model_name", "model_version")
NAME = ("model_name",)
LATENCY_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
)  # fmt: skip
RATIO_BUCKETS = (0.1, 0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4, 10)
DIFFERENCE_BUCKETS = (0, 1e-9, 1e-6, 1e-4, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 100, 1000, 1e6)
ROW_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)
SCRAPED = ("namespace", "pod", "job", "instance", "serving_kserve_io_inferenceservice")
"""Labels that the scrape config adds."""


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    unit: str
    """Unit in the plural; seconds and bytes as Grafana names them."""
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names that queries use."""
        if self.type == "histogram":
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


CATALOGUE = (
    Metric(
        "model_predictions_total", "counter", MODEL, "requests",
        "Prediction requests that reached the model, failed ones included",
    ),
    Metric(
        "model_prediction_latency_seconds", "histogram", MODEL, "seconds",
        "Time from the whole request body to the encoded reply, of predictions that succeeded", LATENCY_BUCKETS,
    ),
    Metric(
        "model_prediction_errors_total", "counter", (*MODEL, "error_type"), "requests",
        "Prediction requests that were answered with an error",
    ),
    Metric("model_loaded", "gauge", MODEL, "yes or no", "Whether the model is loaded and answers (1) or not (0)"),
    Metric(
        "model_requests_total", "counter", ("model_name", "protocol", "status"), "requests",
        "Requests to prediction routes by protocol and status",
    ),
    Metric("model_request_rows", "histogram", MODEL, "rows", "Rows per prediction request", ROW_BUCKETS),
    Metric("model_requests_in_flight", "gauge", NAME, "requests", "Prediction requests being answered"),
    Metric(
        "model_requests_refused_total", "counter", ("model_name", "reason"), "requests",
        "Prediction requests that were refused because the server is overloaded",
    ),
    Metric(
        "model_requests_with_ignored_inputs_total", "counter", ("model_name", "kind"), "requests",
        "Requests to /invocations with inputs that the model does not take, and that were ignored",
    ),
    Metric(
        "model_requests_waiting", "gauge", NAME, "requests",
        "Prediction requests that wait for a thread or for the next batch",
    ),
    Metric(
        "model_requests_bytes", "gauge", NAME, "bytes",
        "Bytes of prediction requests that are arriving or being answered",
    ),
    Metric(
        "model_expected_wait_seconds", "gauge", NAME, "seconds",
        "How long a prediction request that came now would wait for its turn",
    ),
    Metric("model_load_seconds", "gauge", MODEL, "seconds", "Time that loading the model took"),
    Metric(
        "model_engine", "gauge", (*MODEL, "engine", "reason"), "yes or no",
        "What computes the predictions, and why nothing faster does; 1 for what is served, 0 for what was",
    ),
    Metric(
        "model_info", "gauge", (*MODEL, "flavor", "uri", "run_id", "mlflow_version"), "yes or no",
        "What is served (1), and what was before (0)",
    ),
    Metric(
        "model_reloads_total", "counter", ("model_name", "outcome"), "reloads",
        "Changes of what is served: loaded, reverted, promoted, failed (another version keeps serving), registry_error",
    ),
    Metric(
        "model_reload_failing", "gauge", NAME, "yes or no",
        "Whether the version that should be served cannot be (1)",
    ),
    Metric(
        "model_role", "gauge", (*MODEL, "role"), "yes or no",
        "What a version is for, model, candidate or shadow: 1 for its role now, 0 for roles it had",
    ),
    Metric(
        "model_shadow_requests_total", "counter", (*MODEL, "result"), "requests",
        "Requests that a candidate was to be asked afterwards: answered, failed, dropped (there was no time for it)",
    ),
    Metric(
        "model_shadow_latency_seconds", "histogram", MODEL, "seconds",
        "Time that a candidate took to answer what the model had been asked", LATENCY_BUCKETS,
    ),
    Metric(
        "model_shadow_latency_ratio", "histogram", MODEL, "ratios",
        "Time that a candidate took for the same rows as the model, divided by the model's", RATIO_BUCKETS,
    ),
    Metric(
        "model_shadow_labels_total", "counter", (*MODEL, "result"), "rows",
        "Rows for which a candidate predicted the same label as the model, or a different one",
    ),
    Metric(
        "model_shadow_difference", "histogram", MODEL, "values",
        "How far a candidate's numbers are from the model's for the same rows", DIFFERENCE_BUCKETS,
    ),
    Metric(
        "model_feature_lookup_seconds", "histogram", NAME, "seconds",
        "Time that looking up the features of a request took, with what was kept from earlier ones", LATENCY_BUCKETS,
    ),
    Metric(
        "model_feature_values_total", "counter", ("model_name", "feature", "result"), "values",
        "Features of entities that were looked up: found, null, missing (no such entity) or stale",
    ),
    Metric(
        "model_feature_lookups_failed_total", "counter", ("model_name", "reason"), "lookups",
        "Lookups to which Feast gave no answer: timeout, unreachable, error or circuit_open",
    ),
    Metric(
        "model_feature_cache_total", "counter", ("model_name", "result"), "entities",
        "Entities that were found among those kept from earlier requests (hit), or not (miss)",
    ),
    Metric(
        "model_feature_circuit_open", "gauge", NAME, "yes or no",
        "Whether Feast is left alone for a while because it kept failing (1)",
    ),
    Metric(
        "model_prediction_log_records_total", "counter", ("model_name", "result"), "records",
        "Sampled requests: written to the prediction log, dropped (its queue is full), failed (it took no more)",
    ),
    Metric(
        "model_prediction_log_queue", "gauge", NAME, "records",
        "Sampled requests that wait to be written to the prediction log",
    ),
    Metric(
        "model_feature_psi", "gauge", (*MODEL, "feature"), "PSI",
        "How far an input has moved from the drift profile: population stability index of the window",
    ),
    Metric(
        "model_feature_missing_ratio", "gauge", (*MODEL, "feature"), "ratio",
        "Share of rows of the window in which an input is missing",
    ),
    Metric(
        "model_prediction_psi", "gauge", (*MODEL, "output"), "PSI",
        "How far an output has moved from the drift profile: population stability index of the window",
    ),
    Metric("model_drift_window_rows", "gauge", MODEL, "rows", "Rows in the window that drift is measured over"),
    Metric(
        "model_prediction_quantile", "gauge", (*MODEL, "output", "quantile"), "values",
        "Quantiles of a numeric output in the window",
    ),
    Metric(
        "model_prediction_share", "gauge", (*MODEL, "output", "value"), "ratio",
        "Share of each class among the predictions of the window",
    ),
)  # fmt: skip
BY_SERIES = {series: metric for metric in CATALOGUE for series in metric.series}
