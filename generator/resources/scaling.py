"""How the number of pods follows the load: the fields and annotations of the InferenceService that say so."""

from __future__ import annotations

import math
from typing import Any

from generator.plan import ManifestPlan
from generator.resources.promql import PromQuery, queries
from generator.spec.values import seconds

CLASS = "serving.kserve.io/autoscalerClass"
KNATIVE = "autoscaling.knative.dev"
PROGRESS = "serving.knative.dev/progress-deadline"
PROGRESS_DEFAULT = 600  # seconds


def annotations_of(plan: ManifestPlan) -> dict[str, str]:
    if plan.knative:
        return knative(plan)
    return {CLASS: "external" if plan.scaled_object == "us" else plan.scaler}


def annotations_of_canary(plan: ManifestPlan) -> dict[str, str] | None:
    """A canary has a fixed number of pods. Left to itself KServe makes a ScaledObject without triggers for it, which
    KEDA refuses, or, where somebody else scales, one pod whatever the canary asks for."""
    return {CLASS: "none"} if plan.scaler in ("keda", "external") else None


def knative(plan: ManifestPlan) -> dict[str, str]:
    """Annotations that KServe passes on to the revision."""
    wanted = plan.scaling
    by_hpa = {f"{KNATIVE}/class": f"hpa.{KNATIVE}"} if plan.scaler == "hpa" else {}
    start = math.ceil(seconds(plan.spec.probes.start_within))
    # Else Knative gives a new revision up after ten minutes, and takes its pods away.
    patience = {PROGRESS: f"{start}s"} if start > PROGRESS_DEFAULT else {}
    said = {
        "target-utilization-percentage": wanted.target_utilization,
        "window": whole(wanted.window),
        "initial-scale": wanted.initial_scale,
        "scale-down-delay": whole(wanted.scale_down_delay),
        "scale-to-zero-pod-retention-period": whole(wanted.cooldown),
    }
    return by_hpa | patience | {f"{KNATIVE}/{name}": str(value) for name, value in said.items() if value is not None}


def whole(duration: str | None) -> str | None:
    """In seconds: Go, which reads it, knows no days."""
    return None if duration is None else f"{round(seconds(duration))}s"


def fields_of(plan: ManifestPlan) -> dict[str, Any]:
    """Fields of the predictor; what somebody else is to know is not said to KServe, which would ignore it."""
    if plan.scaler == "external" or plan.scaled_object == "us":
        # KServe counts the pods of a canary by it.
        return {"minReplicas": plan.spec.replicas.min} if plan.canary else {}
    if plan.scaler == "none":
        return {"minReplicas": plan.spec.replicas.min}
    return {"minReplicas": plan.spec.replicas.min, "maxReplicas": plan.max_replicas, **rules(plan)}


def rules(plan: ManifestPlan) -> dict[str, Any]:
    wanted = plan.scaling
    resources = {name: value for name in ("cpu", "memory") if (value := getattr(wanted, name)) is not None}
    if plan.scaler == "keda":
        metrics = [resource(*named) for named in resources.items()] + [external(plan, query) for query in queries(plan)]
        return {"autoScaling": {"metrics": metrics, "behavior": behavior(plan)}}
    if len(resources) > 1:
        return {"autoScaling": {"metrics": [resource(*named) for named in resources.items()]}}
    one = resources or {"concurrency": wanted.concurrency, "rps": wanted.rps}
    return next(({"scaleMetric": name, "scaleTarget": value} for name, value in one.items() if value is not None), {})


def resource(name: str, percent: int) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}},
    }


def external(plan: ManifestPlan, query: PromQuery) -> dict[str, Any]:
    """KServe hands on the value alone; to KEDA it is what each pod may have of the query's total."""
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
