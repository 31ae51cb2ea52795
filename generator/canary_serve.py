"""A canary that is a serve of its own, behind the route of another: its spec."""

from __future__ import annotations

import math

from generator.facts import ModelFacts
from generator.scaler import Scaler
from generator.spec import Canary, ServeSpec
from generator.spec.network import Exposure
from generator.spec.pods import DisruptionBudget
from generator.spec.scaling import Replicas, Scaling
from generator.spec.storage import Storage

NEXT = "next"
"""What is appended to the name of a serve to name its canary."""


def name_of(spec: ServeSpec, canary: Canary) -> str:
    return f"{spec.name}-{canary.name or NEXT}"


def share(canary: Canary) -> int:
    """The percent of the requests that the canary gets, with those that are copied to it."""
    return min(100, canary.percent + (canary.shadow.percent if canary.shadow else 0))


def pods_for(canary: Canary, pods: int) -> int:
    """The number of pods for the canary's share of what `pods` serve."""
    return canary.replicas or max(1, math.ceil(share(canary) * pods / 100))


def canary_serve(
    spec: ServeSpec, canary: Canary, flavor: str, known: ModelFacts | None, scaler: Scaler, max_replicas: int
) -> ServeSpec:
    """The spec of the canary: that of the serve with another model, without what a serve has only once.

    Only a HorizontalPodAutoscaler scales it by load; elsewhere its number of pods is fixed, because queries and
    schedules are about the whole of the traffic.
    """
    pods = pods_for(canary, spec.replicas.min)
    by_load = scaler == "hpa"
    account = spec.service_account.name or spec.name
    owns_account = spec.service_account.create or bool(spec.service_account.annotations)
    return spec.model_copy(
        update={
            "name": name_of(spec, canary),
            "model": canary.model,
            "flavor": canary.flavor or (None if known else flavor),
            "image": canary.image or spec.image,
            "model_size": None if canary.model != spec.model else spec.model_size,
            "canary": None,
            "candidate": None,
            "variants": [],
            "previous": None,
            "revision": None,
            "replicas": Replicas(min=pods, max=max(max_replicas, pods) if by_load else None),
            "scaling": spec.scaling.model_copy(update={"schedule": []}) if by_load else Scaling(by="none"),
            "disruption_budget": "off" if spec.disruption_budget == "off" else DisruptionBudget(max_unavailable=1),
            "exposure": Exposure(visibility="cluster-local"),
            "service_account": spec.service_account.model_copy(
                update={"name": account, "create": False, "annotations": {}} if owns_account else {}
            ),
            "storage": storage_of(spec),
            "monitoring": spec.monitoring.model_copy(update={"rules": False, "dashboard": False}),
        }
    )


def storage_of(spec: ServeSpec) -> Storage:
    """The storage of the serve, whose cache is there already."""
    storage = spec.storage
    if "cache" not in storage.model_fields_set:
        return storage  # one that is named would be used
    return storage.model_copy(update={"cache": storage.cache.model_copy(update={"create": False, "cleanup": False})})
