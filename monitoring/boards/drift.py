"""Features & drift: inputs and predictions compared with training, feature lookups, and the prediction log."""

from __future__ import annotations

from typing import Any

from monitoring.boards.style import (
    BAD,
    DRIFT,
    PSI,
    RECENTLY,
    SERVES,
    VERSIONS,
    WARN,
    Expr,
    Panel,
    board,
    graph,
    listing,
    number,
)
from monitoring.weighted import MODEL, class_shares, weighted_mean

TOP = 10
SELECTED = f"{{{VERSIONS}}}"
INPUT, OUTPUT = f"{MODEL}, feature", f"{MODEL}, output"
INPUTS = weighted_mean(f"model_feature_psi{SELECTED}", SELECTED, INPUT)
OUTPUTS = weighted_mean(f"model_prediction_psi{SELECTED}", SELECTED, OUTPUT)
NULL_SHARE = weighted_mean(f"model_feature_missing_ratio{SELECTED}", SELECTED, INPUT)
OF_WINDOW = "Mean over the pods' windows, weighted by their rows."


def per_second(series: str, by: str = "", more: str = "") -> str:
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({series}{{{SERVES}{more}}}[{RECENTLY}]))"


LOOKUPS = per_second("model_feature_lookup_seconds_count")
FAILED = f"{per_second('model_feature_lookups_failed_total')} / {LOOKUPS}"
MISSING = ',result=~"missing|stale"'
VALUES = "model_feature_values_total"
NOT_FOUND = f"{per_second(VALUES, more=MISSING)} / {per_second(VALUES)}"
UNUSABLE = (
    f"""{per_second(VALUES, "feature, result", ',result!="found"')} / """
    f"on (feature) group_left () {per_second(VALUES, 'feature')}"
)
RECORDS = "model_prediction_log_records_total"
LOST = f'rate({RECORDS}{{{SERVES},result=~"dropped|failed"}}[1h])'
ALL_RECORDS = f"sum(rate({RECORDS}{{{SERVES}}}[1h]))"
"""Over an hour: written records are counted when their file is closed, some minutes later than lost ones."""


def lookup_seconds(share: float) -> str:
    return f"histogram_quantile({share}, {per_second('model_feature_lookup_seconds_bucket', 'le')})"


def drift() -> Any:
    return board(
        DRIFT, "Features & drift", "Inputs and predictions, compared with the training data.",
        {
            "Now": now(),
            "Inputs": inputs(),
            "Predictions": predictions(),
            "Feature lookups": lookups(),
            "Prediction log": prediction_log(),
        },
        ["namespace", "serve", "version"],
    )  # fmt: skip


def now() -> list[Panel]:
    return [
        number("Furthest input", "none", f"max({INPUTS})", *PSI, about="PSI; above 0.2 it has drifted."),
        number("Furthest output", "none", f"max({OUTPUTS})", *PSI, about="PSI; above 0.2 it has drifted."),
        number("Rows in the window", "none", f"sum(model_drift_window_rows{SELECTED})"),
        number("Features not there", "percentunit", NOT_FOUND, (0.01, WARN), (0.05, BAD), about="Missing or stale."),
        number("Lookups failed", "percentunit", FAILED, (0.01, WARN), (0.05, BAD)),
        number("Records lost", "percentunit", f"sum({LOST}) / {ALL_RECORDS}", (0.001, WARN), (0.01, BAD)),
    ]  # fmt: skip


def inputs() -> list[Panel]:
    names = {"namespace": "Namespace", "model_name": "Serve", "model_version": "Version", "feature": "Input"}
    worst = f"max by ({INPUT}) (model_feature_psi{SELECTED})"
    return [
        listing(
            "Inputs, furthest first",
            [("PSI", "", Expr(INPUTS)), ("Worst pod", "", Expr(worst)), ("Missing", "percentunit", Expr(NULL_SHARE))],
            names, hidden=["Time"], sort="PSI", limits={"PSI": PSI},
            about="Each pod has its own window: PSI and missing are means, weighted by the rows in the windows. "
                  "With few rows, a single pod may be far out by chance.",
        ),
        graph(
            "PSI of inputs", "none", Expr(f"topk({TOP}, {INPUTS})", "{{feature}} {{model_version}}"), limits=PSI,
            about=f"The {TOP} inputs furthest from the profile: above 0.1 check them, above 0.2 they have drifted.",
        ),
        graph(
            "Missing inputs", "percentunit", Expr(f"topk({TOP}, {NULL_SHARE})", "{{feature}} {{model_version}}"),
            about=f"Share of rows without a value, for the {TOP} inputs that lack most.",
        ),
        graph(
            "Rows in the window", "none",
            Expr(f"sum by (model_version) (model_drift_window_rows{SELECTED})", "{{model_version}}"),
            about="Rows of all pods. Below --drift-min-rows a pod reports no drift.",
        ),
    ]  # fmt: skip


def predictions() -> list[Panel]:
    quantiles = weighted_mean(f"model_prediction_quantile{SELECTED}", SELECTED, f"{OUTPUT}, quantile")
    return [
        graph(
            "PSI of predictions", "none", Expr(OUTPUTS, "{{output}} {{model_version}}"), limits=PSI,
            about="Distance of the predictions from those for the training data.",
        ),
        graph(
            "Prediction quantiles", "none", Expr(quantiles, "{{output}} {{quantile}} {{model_version}}"), signed=True,
            about=f"Quantiles of numeric outputs. {OF_WINDOW}",
        ),
        graph(
            "Prediction classes", "percentunit",
            Expr(class_shares(SELECTED, OUTPUT), "{{output}}: {{value}} {{model_version}}"),
            about=f"Share of each class. {OF_WINDOW}",
        ),
    ]  # fmt: skip


def lookups() -> list[Panel]:
    entities = "model_feature_cache_total"
    kept = f"""{per_second(entities, more=',result="hit"')} / {per_second(entities)}"""
    return [
        graph(
            "Lookup time", "s", *(Expr(lookup_seconds(share), f"P{share * 100:.0f}") for share in (0.5, 0.95, 0.99)),
            about="Time per request. Lookups skipped by the open circuit take no time.",
        ),
        graph(
            "Features not usable", "percentunit", Expr(UNUSABLE, "{{feature}} {{result}}"),
            about="Share of a feature's values. missing: Feast has none for the entity. stale: it is too old.",
        ),
        graph(
            "Lookups failed", "percentunit",
            Expr(f"{per_second('model_feature_lookups_failed_total', 'reason')} / scalar({LOOKUPS})", "{{reason}}"),
            about="Share of lookups without a response.",
        ),
        graph("Lookups", "reqps", Expr(LOOKUPS, "lookups")),
        graph(
            "Found in the cache", "percentunit", Expr(kept, "entities"),
            about="Entities cached by earlier requests; empty without --feast-cache-ttl.",
        ),
        graph(
            "Circuit open", "none", Expr(f"max by (pod) (model_feature_circuit_open{{{SERVES}}})", "{{pod}}"),
            about="1 while lookups are skipped because Feast kept failing.",
        ),
    ]  # fmt: skip


def prediction_log() -> list[Panel]:
    return [
        graph(
            "Records", "reqps", Expr(per_second(RECORDS, "result"), "{{result}}"),
            about="Sampled requests. Records of a Parquet file count when it is closed.",
        ),
        graph(
            "Records lost", "percentunit", Expr(f"sum by (result) ({LOST}) / scalar({ALL_RECORDS})", "{{result}}"),
            about="In the last hour. dropped: the queue was full. failed: the log could not be written.",
        ),
        graph("Queue", "none", Expr(f"sum by (pod) (model_prediction_log_queue{{{SERVES}}})", "{{pod}}")),
    ]  # fmt: skip
