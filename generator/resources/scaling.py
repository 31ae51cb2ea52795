"""Scaling: the fields and annotations of the InferenceService."""

from __future__ import annotations

import math
from typing import Any

from generator.plan import ManifestPlan
from generator.resources.promql import PromQuery, queries
from generator.spec.values import seconds

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
KNATIVE = "autoscaling.knative.dev"
PROGRESS_DEADLINE = "serving.knative.dev/progress-deadline"
PROGRESS_DEFAULT = 600  # seconds


def annotations_of(plan: ManifestPlan) -> dict[str, str]:
    if plan.knative:
        return knative(plan)
    return {AUTOSCALER_CLASS: "external" if plan.scaled_object == "us" else plan.scaler}


def annotations_of_canary(plan: ManifestPlan) -> dict[str, str] | None:
    """A canary has a fixed number of pods. Without this annotation KServe would make a ScaledObject without triggers,
    which KEDA refuses, or a single pod where the scaler is external."""
    return {AUTOSCALER_CLASS: "none"} if plan.scaler in ("keda", "external") else None


def knative(plan: ManifestPlan) -> dict[str, str]:
    """Annotations that KServe passes on to the revision."""
    scaling = plan.scaling
    by_hpa = {f"{KNATIVE}/class": f"hpa.{KNATIVE}"} if plan.scaler == "hpa" else {}
    start = math.ceil(seconds(plan.spec.probes.start_within))
    # Otherwise Knative gives up a new revision after ten minutes, and removes its pods.
    deadline = {PROGRESS_DEADLINE: f"{start}s"} if start > PROGRESS_DEFAULT else {}
    values = {
        "target-utilization-percentage": scaling.target_utilization,
        "window": whole(scaling.window),
        "initial-scale": scaling.initial_scale,
        "scale-down-delay": whole(scaling.scale_down_delay),
        "scale-to-zero-pod-retention-period": whole(scaling.cooldown),
    }
    return by_hpa | deadline | {f"{KNATIVE}/{name}": str(value) for name, value in values.items() if value is not None}


def whole(duration: str | None) -> str | None:
    """The duration in seconds, since Go does not parse days."""
    return None if duration is None else f"{round(seconds(duration))}s"


def fields_of(plan: ManifestPlan) -> dict[str, Any]:
    """Fields of the predictor for KServe's scaling; another scaler's settings are left out."""
    if plan.scaler == "external" or plan.scaled_object == "us":
        # KServe computes the pods of a canary from it.
        return {"minReplicas": plan.spec.replicas.min} if plan.canary else {}
    if plan.scaler == "none":
        return {"minReplicas": plan.spec.replicas.min}
    return {"minReplicas": plan.spec.replicas.min, "maxReplicas": plan.max_replicas, **rules(plan)}


def rules(plan: ManifestPlan) -> dict[str, Any]:
    scaling = plan.scaling
    resources = {name: value for name in ("cpu", "memory") if (value := getattr(scaling, name)) is not None}
    if plan.scaler == "keda":
        metrics = [resource(*named) for named in resources.items()] + [external(plan, query) for query in queries(plan)]
        return {"autoScaling": {"metrics": metrics, "behavior": behavior(plan)}}
    if len(resources) > 1:
        return {"autoScaling": {"metrics": [resource(*named) for named in resources.items()]}}
    one = resources or {"concurrency": scaling.concurrency, "rps": scaling.rps}
    return next(({"scaleMetric": name, "scaleTarget": value} for name, value in one.items() if value is not None), {})


def resource(name: str, percent: int) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
    }


def external(plan: ManifestPlan, query: PromQuery) -> dict[str, Any]:
    """An external metric. KServe passes on only the value, which KEDA uses as the share of the query per pod."""
    auth = plan.scaling.prometheus_auth
    return {
        "type": "External",
        "external": {
            "metric": {"backend": "prometheus", "serverAddress": plan.scaling.prometheus, "query": query.query},
            "authenticationRef": {"authModes": auth.modes, "authenticationRef": {"name": auth.name}} if auth else None,
            "target": {"type": "Value", "value": query.threshold},
        },
    }


def behavior(plan: ManifestPlan) -> dict[str, Any] | None:
    delay = plan.scaling.scale_down_delay
    return {"scaleDown": {"stabilizationWindowSeconds": round(seconds(delay))}} if delay else None
