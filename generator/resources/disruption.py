"""How many pods may be taken away at a time, when nodes are drained."""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.resources.meta import POD_LABEL, Resource, resource


def resources_of(plan: ManifestPlan) -> list[Resource]:
    wanted = plan.spec.disruption_budget
    if wanted == "off" or (wanted == "auto" and plan.spec.replicas.min < 2):
        return []  # with a single pod a budget would either mean nothing, or keep its node from ever being drained
    limits = (
        {"maxUnavailable": 1}
        if wanted == "auto"
        else {"minAvailable": wanted.min_available, "maxUnavailable": wanted.max_unavailable}
    )
    # All pods of the serve, the canary's too: KServe takes from the stable predictor as many as the canary has, and
    # after a promotion it has another name.
    selector = {"matchLabels": {POD_LABEL: plan.spec.name}}
    return [
        resource(plan, "policy/v1", "PodDisruptionBudget", plan.spec.name, {"spec": {**limits, "selector": selector}})
    ]
