"""Alerts for the Prometheus operator, and dashboards for Grafana's sidecar."""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.resources.meta import Resource, labels, resource
from generator.scaler import min_pods
from generator.spec.values import seconds
from monitoring.assets import config_map
from monitoring.objectives import Objectives
from monitoring.rules import RUNBOOKS, groups
from monitoring.scope import Scope


def resources_of(plan: ManifestPlan) -> list[Resource]:
    """The resources, which also cover the canary, so that a rollout does not change them."""
    settings = plan.spec.monitoring
    resources = []
    if settings.rules:
        content = {"spec": {"groups": groups(scope(plan), objectives(plan), settings.runbooks or RUNBOOKS)}}
        rule = resource(plan, "monitoring.coreos.com/v1", "PrometheusRule", plan.spec.name, content)
        rule["metadata"]["labels"] |= settings.labels
        resources.append(rule)
    if settings.dashboard:
        resources.append(config_map(scope(plan), f"{plan.spec.name}-dashboards", plan.spec.namespace, labels(plan)))
    return resources


def scope(plan: ManifestPlan) -> Scope:
    return Scope(plan.spec.namespace, plan.spec.name, always=min_pods(plan.spec) > 0)


def objectives(plan: ManifestPlan) -> Objectives:
    """The objectives of the spec; raises Unfit if they cannot be used."""
    slo = plan.spec.monitoring.slo
    durations = {name: getattr(slo, name) for name in ("p50", "p95", "p99")}
    latencies = {name: None if value is None else round(seconds(value), 6) for name, value in durations.items()}
    return Objectives(availability=slo.availability, **latencies)
