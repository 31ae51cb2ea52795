"""Placement of pods: kinds of nodes, selectors, tolerations, spread."""

from __future__ import annotations

from typing import Any

from generator.plan import ManifestPlan
from generator.resources.meta import POD_LABEL

TOPOLOGY = {"zones": "topology.kubernetes.io/zone", "nodes": "kubernetes.io/hostname"}


def fields_of(plan: ManifestPlan) -> dict[str, Any]:
    spec, wanted = plan.spec, plan.spec.placement
    capacity = spec.node_capacities.get(spec.node_capacity or "")
    return {
        "nodeSelector": (capacity.node_selector if capacity else {}) | wanted.node_selector or None,
        "tolerations": [*(capacity.tolerations if capacity else []), *wanted.tolerations] or None,
        "affinity": wanted.affinity,
        "topologySpreadConstraints": spread(plan) or None,
        "priorityClassName": wanted.priority_class,
    }


def spread(plan: ManifestPlan) -> list[dict[str, Any]]:
    wanted = plan.spec.placement.topology_spread
    if wanted == "off":
        return []
    if not isinstance(wanted, str):
        return wanted
    return [
        {
            "maxSkew": 1,
            "topologyKey": TOPOLOGY[wanted],
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {POD_LABEL: plan.spec.name}},
        }
    ]
