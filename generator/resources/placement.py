"""Placement of pods: kinds of nodes, selectors, tolerations, spread."""

from __future__ import annotations

from typing import Any

from generator.plan import ManifestPlan
from generator.resources.meta import POD_LABEL

TOPOLOGY = {"zones": "topology.kubernetes.io/zone", "nodes": "kubernetes.io/hostname"}


def fields_of(plan: ManifestPlan) -> dict[str, Any]:
    spec, settings = plan.spec, plan.spec.placement
    capacity = spec.node_capacities.get(spec.node_capacity or "")
    return {
        "nodeSelector": (capacity.node_selector if capacity else {}) | settings.node_selector or None,
        "tolerations": [*(capacity.tolerations if capacity else []), *settings.tolerations] or None,
        "affinity": settings.affinity,
        "topologySpreadConstraints": spread(plan) or None,
        "priorityClassName": settings.priority_class,
    }


def spread(plan: ManifestPlan) -> list[dict[str, Any]]:
    constraints = plan.spec.placement.topology_spread
    if constraints == "off":
        return []
    if not isinstance(constraints, str):
        return constraints
    return [
        {
            "maxSkew": 1,
            "topologyKey": TOPOLOGY[constraints],
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {POD_LABEL: plan.spec.name}},
        }
    ]
