"""Rollout: a canary beside the stable predictor, by revision and version."""

from __future__ import annotations

from typing import Any

from monitoring.boards.style import PSI, RECENTLY, ROLLOUT, SERVES, VERSIONS, Expr, board, graph, listing, revised
from monitoring.weighted import class_shares, weighted_mean

BY = "revision, model_version"
LEGEND = "{{revision}} {{model_version}}"
QUANTILES = {"P5": "0.05", "P25": "0.25", "P50": "0.5", "P75": "0.75", "P95": "0.95"}


def per_second(series: str, more: str = "") -> str:
    return f"sum by ({BY}) ({revised(f'rate({series}{{{VERSIONS}{more}}}[{RECENTLY}])')})"


def quantile(share: float) -> str:
    rate = f"rate(model_prediction_latency_seconds_bucket{{{VERSIONS}}}[{RECENTLY}])"
    return f"histogram_quantile({share}, sum by (le, {BY}) ({revised(rate)}))"


PREDICTIONS = per_second("model_predictions_total")
PODS = f"count by ({BY}) ({revised(f'model_loaded{{{VERSIONS}}} == 1')})"
SHARE = f"{PREDICTIONS} / scalar(sum({PREDICTIONS}))"
FAULTS = ',error_type!="invalid_input"'


def of_revision(series: str) -> str:
    """Requests counted before a version is chosen, by revision."""
    return f"sum by (revision) ({revised(f'rate({series}{{{SERVES}}}[{RECENTLY}])')})"


REQUESTS = of_revision("model_requests_total")
REFUSED = f"({of_revision('model_requests_refused_total')} or 0 * {REQUESTS}) / {REQUESTS}"


def errors(more: str) -> str:
    """The share of errors, which is zero rather than absent for a revision without errors."""
    return f"({per_second('model_prediction_errors_total', more)} or 0 * {PREDICTIONS}) / {PREDICTIONS}"


SELECTED = f"{{{VERSIONS}}}"
OUTPUT = f"{BY}, output"
DISTANCE = weighted_mean(f"model_prediction_psi{SELECTED}", SELECTED, OUTPUT, revised)
CLASSES = class_shares(SELECTED, OUTPUT, revised)
ROWS = f"sum by ({BY}) ({revised(f'model_drift_window_rows{SELECTED}')})"


def predicted(quantiles: str, by: str) -> str:
    """These quantiles of the predictions."""
    return weighted_mean(f'model_prediction_quantile{{{VERSIONS},quantile=~"{quantiles}"}}', SELECTED, by, revised)


def shadowed(share: float, series: str) -> str:
    rate = f"rate({series}_bucket{{{VERSIONS}}}[{RECENTLY}])"
    return f"histogram_quantile({share}, sum by (le, {BY}) ({revised(rate)}))"


LABELS = per_second("model_shadow_labels_total")
OTHER_LABELS = per_second("model_shadow_labels_total", ',result="different"')
DIFFERENT = f"{OTHER_LABELS} / {LABELS}"
ROLES = f"sum by ({BY}, role) ({revised(f'model_role{{{VERSIONS}}} == 1')})"
SHADOWED = f"sum by ({BY}, result) ({revised(f'rate(model_shadow_requests_total{{{VERSIONS}}}[{RECENTLY}])')})"


def rollout() -> Any:
    beside = [
        listing(
            "Side by side",
            [
                ("Traffic", "percentunit", Expr(SHARE)),
                ("Requests", "reqps", Expr(PREDICTIONS)),
                ("Failed", "percentunit", Expr(errors(FAULTS))),
                ("P50", "s", Expr(quantile(0.5))),
                ("P95", "s", Expr(quantile(0.95))),
                ("P99", "s", Expr(quantile(0.99))),
                ("Pods", "none", Expr(PODS)),
            ],
            {"revision": "Revision", "model_version": "Version"}, hidden=["Time"], sort="Traffic",
            about="Promote a canary if it fails no more often than the stable revision and is no slower.",
        ),
    ]  # fmt: skip
    traffic = [
        graph("Share of traffic", "percentunit", Expr(SHARE, LEGEND), stacked=True),
        graph("Requests", "reqps", Expr(PREDICTIONS, LEGEND)),
        graph("Pods", "none", Expr(PODS, LEGEND), stacked=True),
    ]
    quality = [
        graph("Failed", "percentunit", Expr(errors(FAULTS), LEGEND), about="Server errors, as share of predictions."),
        graph(
            "Inputs that do not fit", "percentunit", Expr(errors(',error_type="invalid_input"'), LEGEND),
            about="If the canary has more of them, its signature accepts less than that of the stable version.",
        ),
        graph("P50", "s", Expr(quantile(0.5), LEGEND)),
        graph("P95", "s", Expr(quantile(0.95), LEGEND)),
        graph("P99", "s", Expr(quantile(0.99), LEGEND)),
        graph(
            "Rows per request", "none",
            Expr(f"{per_second('model_request_rows_sum')} / {per_second('model_request_rows_count')}", LEGEND),
            about="Must be the same for both, otherwise the latencies cannot be compared.",
        ),
        graph(
            "Refused", "percentunit", Expr(REFUSED, "{{revision}}"),
            about="Share of a revision's requests that were refused because of overload. They are not predictions, so "
                  "no other panel shows them: a canary with too few pods shows up here.",
        ),
    ]  # fmt: skip
    predictions = [
        listing(
            "Predictions side by side",
            [
                *((name, "", Expr(predicted(quantile, OUTPUT))) for name, quantile in QUANTILES.items()),
                ("PSI", "", Expr(DISTANCE)),
            ],
            {"revision": "Revision", "model_version": "Version", "output": "Output"}, hidden=["Time"],
            limits={"PSI": PSI},
            about="Predictions of both for similar requests should be alike, unless a change is intended. PSI is the "
                  "distance of each from its own training data. Only models with drift measurement are shown.",
        ),
        graph(
            "Prediction quantiles", "none",
            Expr(predicted("0.05|0.5|0.95", f"{OUTPUT}, quantile"), LEGEND + " {{output}} {{quantile}}"), signed=True,
            about="Numeric outputs: the median, the 5th and the 95th percentile.",
        ),
        graph("Prediction classes", "percentunit", Expr(CLASSES, LEGEND + " {{output}}: {{value}}")),
        graph(
            "Rows in the window", "none", Expr(ROWS, LEGEND),
            about="Number of predictions behind these values. Few rows fluctuate: give a canary time.",
        ),
    ]  # fmt: skip
    candidate = [
        graph("Roles", "none", Expr(ROLES, LEGEND + " {{role}}"), about="Pods in which a version has this role."),
        graph(
            "Asked afterwards", "reqps", Expr(SHADOWED, LEGEND + " {{result}}"),
            about="Requests of which a copy was meant for the candidate. Those that are dropped found no time.",
        ),
        graph(
            "Different labels", "percentunit", Expr(DIFFERENT, LEGEND),
            about="Share of rows for which the candidate predicts another label than the model.",
        ),
        graph(
            "Difference, P95", "none", Expr(shadowed(0.95, "model_shadow_difference"), LEGEND),
            about="Distance between the numbers of both for the same rows.",
        ),
        graph("Candidate's P95", "s", Expr(shadowed(0.95, "model_shadow_latency_seconds"), LEGEND)),
        graph(
            "Times the model's latency, P50", "none", Expr(shadowed(0.5, "model_shadow_latency_ratio"), LEGEND),
            about="For the same rows: above 1 the candidate is the slower one.",
        ),
    ]  # fmt: skip
    rows: dict[str, Any] = {"Side by side": beside, "Traffic": traffic, "Quality": quality}
    rows |= {"Predictions": predictions, "Candidate": candidate}
    about = "A canary compared with the stable predictor, and a candidate with its model."
    return board(ROLLOUT, "Rollout", about, rows, ["namespace", "serve", "version"])
