"""Serve overview: traffic, latency, saturation and models of one serve."""

from __future__ import annotations

from typing import Any

from monitoring.boards.drift import INPUTS, NOT_FOUND
from monitoring.boards.style import (
    BAD,
    OVERVIEW,
    PSI,
    RECENTLY,
    SERVES,
    VERSIONS,
    WARN,
    Expr,
    board,
    graph,
    listing,
    number,
)
from monitoring.recording import FAULTS

REQUESTS = f"sum(rate(model_requests_total{{{SERVES}}}[{RECENTLY}]))"
FAILED = f'(sum(rate(model_requests_total{{{SERVES},status=~"{FAULTS}"}}[{RECENTLY}])) or vector(0)) / {REQUESTS}'
BUCKETS = f"rate(model_prediction_latency_seconds_bucket{{{VERSIONS}}}[{RECENTLY}])"
PREDICTIONS = f"sum(rate(model_predictions_total{{{VERSIONS}}}[{RECENTLY}]))"


def quantile(share: float, by: str = "le") -> str:
    return f"histogram_quantile({share}, sum by ({by}) ({BUCKETS}))"


def per_second(series: str, by: str, selector: str = SERVES) -> str:
    return f"sum by ({by}) (rate({series}{{{selector}}}[{RECENTLY}]))"


def overview() -> Any:
    now = [
        number("Requests", "reqps", REQUESTS, width=3),
        number(
            "Failed", "percentunit", FAILED, (0.001, WARN), (0.01, BAD), width=3, about="Server errors."
        ),
        number("P95", "s", quantile(0.95), (0.5, BAD), width=3),
        number("Pods with a model", "none", f"count(model_loaded{{{SERVES}}} == 1)", width=3),
        number("In flight", "none", f"sum(model_requests_in_flight{{{SERVES}}})", width=3),
        number("Reloads failing", "none", f"sum(model_reload_failing{{{SERVES}}})", (1, BAD), width=3),
        number(
            "Furthest input", "none", f"max({INPUTS})", *PSI, width=3,
            about="PSI; above 0.2 the input has drifted from the training data.",
        ),
        number(
            "Features not there", "percentunit", NOT_FOUND, (0.01, WARN), (0.05, BAD), width=3,
            about="Missing in Feast, or stale.",
        ),
    ]  # fmt: skip
    errors = per_second("model_prediction_errors_total", "error_type", VERSIONS)
    traffic = [
        graph("Requests by protocol", "reqps", Expr(per_second("model_requests_total", "protocol"), "{{protocol}}")),
        graph("Requests by status", "reqps", Expr(per_second("model_requests_total", "status"), "{{status}}")),
        graph(
            "Errors by type", "percentunit", Expr(f"{errors} / scalar({PREDICTIONS})", "{{error_type}}"),
            about="Share of predictions. invalid_input is an error of the caller, all others are server errors.",
        ),
        graph("Latency", "s", *(Expr(quantile(share), f"P{share * 100:.0f}") for share in (0.5, 0.95, 0.99))),
        graph("P95 by version", "s", Expr(quantile(0.95, "le, model_version"), "{{model_version}}")),
        graph(
            "Rows per request", "none",
            Expr(f"sum(rate(model_request_rows_sum{{{VERSIONS}}}[{RECENTLY}])) / "
                  f"sum(rate(model_request_rows_count{{{VERSIONS}}}[{RECENTLY}]))", "mean"),
        ),
    ]  # fmt: skip
    saturation = [
        graph(
            "In flight and waiting", "none",
            Expr(f"sum(model_requests_in_flight{{{SERVES}}})", "in flight"),
            Expr(f"sum(model_requests_waiting{{{SERVES}}})", "waiting"), width=6,
        ),
        graph(
            "Expected wait", "s", Expr(f"model_expected_wait_seconds{{{SERVES}}}", "{{pod}}"), width=6,
            about="Time that a new request would wait; above --max-wait it is refused.",
        ),
        graph("Bytes held", "bytes", Expr(f"sum by (pod) (model_requests_bytes{{{SERVES}}})", "{{pod}}"), width=6),
        graph("Refused", "reqps", Expr(per_second("model_requests_refused_total", "reason"), "{{reason}}"), width=6),
        graph(
            "Ignored inputs", "reqps", Expr(per_second("model_requests_with_ignored_inputs_total", "kind"), "{{kind}}"),
            width=6, about="Requests to /invocations with columns, params or keys that the model does not take.",
        ),
    ]  # fmt: skip
    names = {
        "namespace": "Namespace", "pod": "Pod", "model_name": "Serve", "model_version": "Version", "flavor": "Flavor",
        "uri": "URI", "run_id": "Run", "mlflow_version": "MLflow", "engine": "Engine", "reason": "Why no faster one",
    }  # fmt: skip
    served, origin = "namespace, pod, model_name, model_version", "flavor, uri, run_id, mlflow_version"
    model = [
        listing(
            "Model of each pod",
            [
                ("", "", Expr(f"max by ({served}, {origin}) (model_info{{{VERSIONS}}} == 1)")),
                ("", "", Expr(f"max by ({served}, engine, reason) (model_engine{{{VERSIONS}}} == 1)")),
                ("Load", "s", Expr(f"max by ({served}) (model_load_seconds{{{VERSIONS}}} and model_loaded == 1)")),
            ],
            names, hidden=["Time"],
        ),
        graph(
            "Pods by version", "none",
            Expr(f"count by (model_version) (model_loaded{{{VERSIONS}}} == 1)", "{{model_version}}"),
            stacked=True, width=12,
        ),
        graph(
            "Reloads", "none",
            Expr(f"sum by (outcome) (increase(model_reloads_total{{{SERVES}}}[{RECENTLY}]))", "{{outcome}}"), width=12,
            about="Changes of the served version, and failed polls of the registry.",
        ),
    ]  # fmt: skip
    return board(
        OVERVIEW, "Serve overview", "Traffic, latency, saturation and models of one serve.",
        {"Now": now, "Traffic": traffic, "Saturation": saturation, "Model": model}, ["namespace", "serve", "version"],
    )  # fmt: skip
