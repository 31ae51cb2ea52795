"""What the spec says in Kubernetes' own words: `pod` is laid over the predictor, `patch` over the InferenceService."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.plan import ManifestPlan
from generator.resources.meta import Resource


def overridden(service: Resource, plan: ManifestPlan) -> Resource:
    result = service
    if plan.spec.pod:
        result = laid_over(result, {"spec": {"predictor": plan.spec.pod}})
    if plan.spec.patch:
        result = laid_over(result, plan.spec.patch)
    return result


def laid_over(below: Any, above: Any) -> Any:
    """A merge patch, except that lists of things with names are merged by name. null takes a field away."""
    if isinstance(above, Mapping):
        result = dict(below) if isinstance(below, Mapping) else {}
        for key, value in above.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = laid_over(result.get(key), value)
        return result
    if isinstance(above, list) and isinstance(below, list) and are_named([*below, *above]):
        named = {each["name"]: each for each in below}
        return list((named | {each["name"]: laid_over(named.get(each["name"]), each) for each in above}).values())
    return above


def are_named(items: list[Any]) -> bool:
    return all(isinstance(each, Mapping) and "name" in each for each in items)
