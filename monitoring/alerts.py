"""Alerts on states that need attention, whether or not they affect the objectives."""

from __future__ import annotations

from typing import Any

from monitoring.recording import REQUESTS
from monitoring.scope import BY, Scope
from monitoring.weighted import MODEL, weighted_mean

Rule = dict[str, Any]
SERVE = "{{ $labels.model_name }} in {{ $labels.namespace }}"
DRIFT_PSI = 0.2
"""Population stability index above which a shift is no longer due to chance."""


def alert(name: str, expr: str, hold: str, severity: str, summary: str, description: str) -> Rule:
    return {
        "alert": name,
        "expr": expr,
        "for": hold,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def alerts(scope: Scope) -> list[Rule]:
    return [*models(scope), *reloads(scope), *load(scope), *drift(scope), *features(scope), *prediction_log(scope)]


def models(scope: Scope) -> list[Rule]:
    rules = [
        alert(
            "ModelNotLoaded",
            f"max by (namespace, pod, model_name) (model_loaded{scope.metrics()}) == 0",
            "5m",
            "page",
            f"{SERVE}: no version is loaded",
            "Pod {{ $labels.pod }} runs without a model: it was unloaded, or could not be loaded.",
        ),
        alert(
            "ModelPodNotScraped",
            f"up{scope.pods()} == 0",
            "10m",
            "ticket",
            "{{ $labels.pod }} in {{ $labels.namespace }} does not answer scrapes",
            "The metrics of the pod are more than ten minutes old, so other alerts do not cover it.",
        ),
    ]
    if scope.always and scope.serve:
        rules.append(
            alert(
                "ModelAbsent",
                f"absent(model_loaded{scope.metrics()} == 1)",
                "10m",
                "page",
                f"{scope.serve} in {scope.namespace}: Prometheus sees no pod with a model",
                "Either no pod is up, or none is scraped. The serve does not scale to zero, so there should be one.",
            )
        )
    return rules


def reloads(scope: Scope) -> list[Rule]:
    unanswered = scope.metrics('outcome="registry_error"')
    return [
        alert(
            "ModelReloadFailing",
            f"max by (namespace, pod, model_name) (model_reload_failing{scope.metrics()}) == 1",
            "10m",
            "ticket",
            f"{SERVE}: the wanted version cannot be loaded",
            "Pod {{ $labels.pod }} keeps serving the previous version.",
        ),
        alert(
            "ModelRegistryUnreachable",
            # Each pod polls by itself and backs off, up to ten minutes.
            f"max by ({BY}) (increase(model_reloads_total{unanswered}[30m])) > 1.5",
            "30m",
            "ticket",
            f"{SERVE}: the registry cannot be reached",
            "Polls have failed for half an hour. The loaded version is still served; new versions are not noticed.",
        ),
    ]


def load(scope: Scope) -> list[Rule]:
    refused = f"sum by ({BY}) (rate(model_requests_refused_total{scope.metrics()}[5m]))"
    unfit = scope.metrics('error_type="invalid_input"')
    invalid = f"sum by ({BY}) (rate(model_prediction_errors_total{unfit}[15m]))"
    predictions = f"sum by ({BY}) (rate(model_predictions_total{scope.metrics()}[15m]))"
    return [
        alert(
            "ModelRequestsRefused",
            f"{refused} / {REQUESTS}5m{scope.metrics()} > 0.01",
            "5m",
            "page",
            f"{SERVE}: requests are refused because of overload",
            "{{ $value | humanizePercentage }} of the requests meet a full queue and are refused with a retry hint.",
        ),
        alert(
            "ModelQueueLong",
            f"max by (namespace, pod, model_name) (model_expected_wait_seconds{scope.metrics()}) > 0.5",
            "5m",
            "ticket",
            f"{SERVE}: requests queue for long",
            "In pod {{ $labels.pod }} a new request waits {{ $value | humanizeDuration }}; above --max-wait (1 s) "
            "requests are refused.",
        ),
        alert(
            "ModelNoTraffic",
            # Pods without a request have no such series, and a serve at zero pods has no loaded model.
            f"({REQUESTS}6h{scope.metrics()} * 21600 > 100 unless {REQUESTS}30m{scope.metrics()} > 0) "
            f"and max by ({BY}) (model_loaded{scope.metrics()}) == 1",
            "15m",
            "ticket",
            f"{SERVE}: requests have stopped",
            "There was no request for half an hour, after more than a hundred in the hours before.",
        ),
        alert(
            "ModelInputRejected",
            f"{invalid} / {predictions} > 0.5 and {predictions} * 900 >= 20",
            "15m",
            "ticket",
            f"{SERVE}: most requests do not fit the model",
            "{{ $value | humanizePercentage }} of the requests are rejected as invalid: a caller sends inputs that do "
            "not match the model's signature.",
        ),
    ]


def drift(scope: Scope) -> list[Rule]:
    """Alerts for each version separately, since a canary has its own profile."""
    inputs = weighted_mean(f"model_feature_psi{scope.metrics()}", scope.metrics(), f"{MODEL}, feature")
    outputs = weighted_mean(f"model_prediction_psi{scope.metrics()}", scope.metrics(), f"{MODEL}, output")
    return [
        alert(
            "ModelInputDrifted",
            f"{inputs} > {DRIFT_PSI}",
            "30m",
            "ticket",
            f"{SERVE}: input {{{{ $labels.feature }}}} has drifted from the training data",
            "Version {{ $labels.model_version }} has received values that differ from its profile, or are missing more "
            "often, for half an hour: PSI {{ $value | humanize }}.",
        ),
        alert(
            "ModelPredictionsDrifted",
            f"{outputs} > {DRIFT_PSI}",
            "30m",
            "ticket",
            f"{SERVE}: {{{{ $labels.output }}}} has drifted from the predictions in training",
            "Predictions of version {{ $labels.model_version }} have differed from its profile for half an hour: PSI "
            "{{ $value | humanize }}.",
        ),
    ]


def features(scope: Scope) -> list[Rule]:
    by = f"{BY}, feature"
    values = f"sum by ({by}) (rate(model_feature_values_total{scope.metrics()}[10m]))"
    without = scope.metrics('result=~"missing|stale"')
    unusable = f"sum by ({by}) (rate(model_feature_values_total{without}[10m]))"
    lookups = f"sum by ({BY}) (rate(model_feature_lookup_seconds_count{scope.metrics()}[5m]))"
    failed = f"sum by ({BY}) (rate(model_feature_lookups_failed_total{scope.metrics()}[5m]))"
    return [
        alert(
            "ModelFeaturesMissing",
            f"{unusable} / {values} > 0.05 and {values} * 600 >= 20",
            "15m",
            "ticket",
            f"{SERVE}: feature {{{{ $labels.feature }}}} is missing or stale",
            "{{ $value | humanizePercentage }} of the looked-up entities have no fresh value of it in Feast.",
        ),
        alert(
            "ModelFeastUnavailable",
            f"{failed} / {lookups} > 0.05",
            "10m",
            "ticket",
            f"{SERVE}: Feast does not respond",
            "{{ $value | humanizePercentage }} of the lookups fail, or are skipped because the circuit is open.",
        ),
    ]


def prediction_log(scope: Scope) -> list[Rule]:
    # Written records are counted when their file is closed, some minutes later than lost ones.
    without = scope.metrics('result=~"dropped|failed"')
    records = f"sum by ({BY}) (rate(model_prediction_log_records_total{scope.metrics()}[1h]))"
    lost = f"sum by ({BY}) (rate(model_prediction_log_records_total{without}[1h]))"
    return [
        alert(
            "ModelPredictionLogDropping",
            f"{lost} / {records} > 0.01",
            "15m",
            "ticket",
            f"{SERVE}: the prediction log has gaps",
            "{{ $value | humanizePercentage }} of the requests sampled in the last hour were not written: the queue "
            "was full, or the log could not be written. Predictions are not affected.",
        ),
    ]
