"""Conditions and patches about the serves of a plan."""

from __future__ import annotations

import math
from typing import Any

from generator.patches import json_patch, merge_patch
from generator.plan import ManifestPlan, Served
from generator.render import resources
from generator.resources.inference_service import inference_service
from generator.resources.meta import Resource
from generator.resources.routes import host_route, own_route
from generator.resources.runtimes import runtime_name
from generator.rollout.actions import Patch, PatchType
from generator.rollout.conditions import Describes, Ready, RevisionReady
from generator.rollout.observed import KNATIVE_SERVICE, ObservedServe, strings

ISVC = "InferenceService"
ROUTE = "HTTPRoute"
MOST = 50
"""Percent of the traffic from which the number of pods says something about all of it."""


def marks(plan: ManifestPlan, served: Served) -> tuple[str, ...]:
    """What tells the model, in an InferenceService: its URI, its image or its runtime, and labels of the patch."""
    there = set(strings(inference_service(plan)["spec"]))
    runtime = plan.spec.runtime or runtime_name(served.flavor)
    return tuple(text for text in (served.uri, served.image, runtime, *patched_labels(plan)) if text in there)


def pod_marks(plan: ManifestPlan, served: Served) -> tuple[str, ...]:
    """What tells the model, in the template of a pod, which does not name the runtime."""
    known = (served.uri, served.image, *patched_labels(plan))
    return tuple(text for text in marks(plan, served) if text in known)


def patched_labels(plan: ManifestPlan) -> tuple[str, ...]:
    """Values of the labels that the spec's patch gives pods: they tell what the model does not."""
    labels = plan.spec.patch.get("spec", {}).get("predictor", {}).get("labels", {})
    return tuple(str(value) for value in labels.values())


def described(plan: ManifestPlan) -> Describes:
    """The InferenceService is for the model of the plan; in Knative that is the canary's, if there is one."""
    return Describes(plan.spec.name, marks(plan, plan.canary if plan.canary and plan.knative else plan.stable))


def ready(plan: ManifestPlan, pods: int) -> Ready:
    return Ready(plan.workload, pod_marks(plan, plan.stable), max(1, pods))


def revision_ready(plan: ManifestPlan) -> RevisionReady:
    """The newest revision of a plan, which is the canary's if it has one."""
    return RevisionReady(plan.workload, pod_marks(plan, plan.canary or plan.stable))


def running(plan: ManifestPlan, observed: ObservedServe | None) -> int:
    """The number of pods that all of the traffic needs, by those that serve it now; replicas.min by default.

    Whoever has most of the traffic tells it best: a small share is rounded up to a pod, and a serve has its minimum.
    """
    if observed is None:
        return max(1, plan.spec.replicas.min)
    serves = (plan, *plan.behind)
    pods = [observed.number("Deployment", each.workload, "status", "availableReplicas") for each in serves]
    percents = [each.percent for each in plan.spec.canaries] if plan.behind else []
    estimates = [
        math.ceil(100 * count / percent)
        for count, percent in zip(pods, [100 - sum(percents), *percents], strict=True)
        if percent >= MOST
    ]
    return max(1, plan.spec.replicas.min, min(max(*pods, min([sum(pods), *estimates])), plan.max_replicas))


def patch(old: Resource, new: Resource, type: PatchType = "merge") -> Patch | None:
    """The patch from one state of a resource to another; None if they are the same."""
    content = merge_patch(old, new) if type == "merge" else json_patch(old, new)
    if not content:
        return None
    return Patch(new["kind"], new["metadata"]["name"], new["metadata"]["namespace"], content, type)


def patches(before: ManifestPlan, after: ManifestPlan, type: PatchType = "merge") -> tuple[Patch, ...]:
    """A patch for each resource that both plans have and that differs."""
    old = keyed(before)
    pairs = [(old[key], new) for key, new in keyed(after).items() if key in old]
    return tuple(change for pair in pairs if (change := patch(*pair, type)))


def keyed(plan: ManifestPlan) -> dict[tuple[str, str], Resource]:
    return {(each["kind"], each["metadata"]["name"]): each for each in resources(plan)}


def predictor_patch(plan: ManifestPlan, fields: dict[str, Any]) -> Patch:
    return Patch(ISVC, plan.spec.name, plan.spec.namespace, {"spec": {"predictor": fields}})


def objects_of(plan: ManifestPlan) -> list[tuple[str, str]]:
    """The objects, by kind and name, that the conditions of a plan look at."""
    spec = plan.spec
    if plan.knative:
        return [(ISVC, spec.name), (KNATIVE_SERVICE, plan.workload)]
    within = [f"{spec.name}-{plan.canary.name}-predictor"] if plan.canary else []
    serves = [plan, *plan.behind]
    return [
        *((ISVC, each.spec.name) for each in serves),
        *((ISVC, name.removesuffix("-predictor")) for name in within),
        *(("Deployment", name) for name in [*(each.workload for each in serves), *within]),
        *((ROUTE, name) for name in (spec.name, plan.workload, own_route(plan), host_route(plan))),
    ]
