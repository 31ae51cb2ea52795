"""A separate ScaledObject for what KServe does not pass on to KEDA: schedules and the cooldown."""

from __future__ import annotations

from typing import Any

from generator.plan import ManifestPlan
from generator.resources.meta import Resource, resource
from generator.resources.promql import PromQuery, queries
from generator.resources.scaling import behavior
from generator.spec.scaling import Window
from generator.spec.values import seconds


def scaled_object(plan: ManifestPlan) -> list[Resource]:
    if plan.scaled_object != "us":
        return []
    scaling = plan.scaling
    scale_behavior = behavior(plan)
    spec = {
        "scaleTargetRef": {"name": plan.workload},
        "minReplicaCount": plan.spec.replicas.min,
        "maxReplicaCount": plan.max_replicas,
        "cooldownPeriod": round(seconds(scaling.cooldown)) if scaling.cooldown else None,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": scale_behavior}} if scale_behavior else None,
        "triggers": [
            *(prometheus(plan, query) for query in queries(plan)),
            *(cron(window) for window in scaling.schedule),
        ],
    }
    return [resource(plan, "keda.sh/v1alpha1", "ScaledObject", plan.spec.name, {"spec": spec})]


def prometheus(plan: ManifestPlan, query: PromQuery) -> dict[str, Any]:
    auth = plan.scaling.prometheus_auth
    return {
        "type": "prometheus",
        "metadata": {
            "serverAddress": plan.scaling.prometheus,
            "query": query.query,
            "threshold": query.threshold,
            "authModes": auth.modes if auth else None,
        },
        "authenticationRef": {"name": auth.name} if auth else None,
    }


def cron(window: Window) -> dict[str, Any]:
    """A minimum number of pods in the window; the rule that asks for the most pods wins."""
    return {
        "type": "cron",
        "metadata": {
            "timezone": window.timezone,
            "start": window.start,
            "end": window.end,
            "desiredReplicas": str(window.min),
        },
    }
