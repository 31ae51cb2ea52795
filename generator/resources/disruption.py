"""The PodDisruptionBudget, for drains of nodes."""

from __future__ import annotations

from generator.plan import ManifestPlan
from generator.resources.meta import POD_LABEL, Resource, resource


def resources_of(plan: ManifestPlan) -> list[Resource]:
    budget = plan.spec.disruption_budget
    if budget == "off" or (budget == "auto" and plan.spec.replicas.min < 2):
        return []  # with a single pod, a budget has no effect or blocks every drain of its node
    limits = (
        {"maxUnavailable": 1}
        if budget == "auto"
        else {"minAvailable": budget.min_available, "maxUnavailable": budget.max_unavailable}
    )
    # All pods of the serve, including the canary's: KServe reduces the stable predictor by the pods of the canary, and
    # a promotion changes its name.
    selector = {"matchLabels": {POD_LABEL: plan.spec.name}}
    return [
        resource(plan, "policy/v1", "PodDisruptionBudget", plan.spec.name, {"spec": {**limits, "selector": selector}})
    ]
