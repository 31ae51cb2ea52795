"""Alerts on states that somebody has to look at, whatever they do to the objectives."""

from __future__ import annotations

from typing import Any

from monitoring.recording import REQUESTS
from monitoring.scope import BY, Scope
from monitoring.weighted import MODEL, weighed

Rule = dict[str, Any]
WHO = "{{ $labels.model_name }} in {{ $labels.namespace }}"
DRIFTED = 0.2
"""The population stability index from which on it is no chance any more."""


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
    found = [
        alert(
            "ModelNotLoaded",
            f"max by (namespace, pod, model_name) (model_loaded{scope.metrics()}) == 0",
            "5m",
            "page",
            f"{WHO}: no version is loaded",
            "Pod {{ $labels.pod }} runs, but has no model that answers: it was unloaded, or could not be loaded.",
        ),
        alert(
            "ModelPodNotScraped",
            f"up{scope.pods()} == 0",
            "10m",
            "ticket",
            "{{ $labels.pod }} in {{ $labels.namespace }} does not answer Prometheus",
            "All that is known of the pod is older than ten minutes; other alerts do not see it.",
        ),
    ]
    if scope.always and scope.serve:
        found.append(
            alert(
                "ModelAbsent",
                f"absent(model_loaded{scope.metrics()} == 1)",
                "10m",
                "page",
                f"{scope.serve} in {scope.namespace}: Prometheus sees no pod with a model",
                "Either no pod is up, or none is scraped. The serve does not scale to zero, so there should be one.",
            )
        )
    return found


def reloads(scope: Scope) -> list[Rule]:
    unanswered = scope.metrics('outcome="registry_error"')
    return [
        alert(
            "ModelReloadFailing",
            f"max by (namespace, pod, model_name) (model_reload_failing{scope.metrics()}) == 1",
            "10m",
            "ticket",
            f"{WHO}: the version that should be served cannot be",
            "Pod {{ $labels.pod }} keeps answering with the version before.",
        ),
        alert(
            "ModelRegistryUnreachable",
            # Each pod asks for itself, and less and less often: every ten minutes in the end.
            f"max by ({BY}) (increase(model_reloads_total{unanswered}[30m])) > 1.5",
            "30m",
            "ticket",
            f"{WHO}: the registry does not say what should be served",
            "Pods have asked it in vain for half an hour. What is loaded keeps answering; new versions are not seen.",
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
            f"{WHO}: requests are refused, there is too much to do",
            "{{ $value | humanizePercentage }} of the requests find a full queue and are told to come back later.",
        ),
        alert(
            "ModelQueueLong",
            f"max by (namespace, pod, model_name) (model_expected_wait_seconds{scope.metrics()}) > 0.5",
            "5m",
            "ticket",
            f"{WHO}: requests wait for their turn",
            "In pod {{ $labels.pod }} a request that comes now waits {{ $value | humanizeDuration }}; beyond "
            "--max-wait (1 s) requests are refused.",
        ),
        alert(
            "ModelNoTraffic",
            # Pods that nobody has asked yet have no such series, and a serve at zero pods has none that is loaded.
            f"({REQUESTS}6h{scope.metrics()} * 21600 > 100 unless {REQUESTS}30m{scope.metrics()} > 0) "
            f"and max by ({BY}) (model_loaded{scope.metrics()}) == 1",
            "15m",
            "ticket",
            f"{WHO}: nobody asks any more",
            "There was no request for half an hour, and more than a hundred in the hours before.",
        ),
        alert(
            "ModelInputRejected",
            f"{invalid} / {predictions} > 0.5 and {predictions} * 900 >= 20",
            "15m",
            "ticket",
            f"{WHO}: most requests do not fit the model",
            "{{ $value | humanizePercentage }} of the requests are answered with what is wrong with them: a caller "
            "sends other inputs than the model's signature wants.",
        ),
    ]


def drift(scope: Scope) -> list[Rule]:
    """Of each version by itself: a canary has a profile of its own."""
    inputs = weighed(f"model_feature_psi{scope.metrics()}", scope.metrics(), f"{MODEL}, feature")
    outputs = weighed(f"model_prediction_psi{scope.metrics()}", scope.metrics(), f"{MODEL}, output")
    return [
        alert(
            "ModelInputDrifted",
            f"{inputs} > {DRIFTED}",
            "30m",
            "ticket",
            f"{WHO}: input {{{{ $labels.feature }}}} is not what the model was trained on",
            "Version {{ $labels.model_version }} gets other values than its profile has, or lacks them more often: "
            "PSI {{ $value | humanize }}, for half an hour.",
        ),
        alert(
            "ModelPredictionsDrifted",
            f"{outputs} > {DRIFTED}",
            "30m",
            "ticket",
            f"{WHO}: {{{{ $labels.output }}}} is not what the model answered in training",
            "Version {{ $labels.model_version }} answers otherwise than its profile says: PSI {{ $value | humanize }}, "
            "for half an hour.",
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
            f"{WHO}: feature {{{{ $labels.feature }}}} is missing or too old",
            "{{ $value | humanizePercentage }} of the entities that were looked up have no fresh value of it in Feast.",
        ),
        alert(
            "ModelFeastUnavailable",
            f"{failed} / {lookups} > 0.05",
            "10m",
            "ticket",
            f"{WHO}: Feast does not answer",
            "{{ $value | humanizePercentage }} of the lookups of features fail, or are not even tried because the "
            "circuit is open.",
        ),
    ]


def prediction_log(scope: Scope) -> list[Rule]:
    # What is written is counted by the file, which is some minutes later than what is lost.
    without = scope.metrics('result=~"dropped|failed"')
    records = f"sum by ({BY}) (rate(model_prediction_log_records_total{scope.metrics()}[1h]))"
    lost = f"sum by ({BY}) (rate(model_prediction_log_records_total{without}[1h]))"
    return [
        alert(
            "ModelPredictionLogDropping",
            f"{lost} / {records} > 0.01",
            "15m",
            "ticket",
            f"{WHO}: the prediction log has gaps",
            "{{ $value | humanizePercentage }} of the requests sampled in the last hour were not written: the queue "
            "was full, or the log cannot take them. Predictions are answered as ever.",
        ),
    ]
