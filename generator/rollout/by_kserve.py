"""Standard mode by KServe's spec.canary[]: a second Deployment inside the same InferenceService.

KServe moves the traffic at once, and a promotion replaces the serve's Deployment and Service.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan, Served
from generator.rollout.actions import PatchType
from generator.rollout.conditions import Gone, Ready
from generator.rollout.parts import patches, pod_marks, ready
from generator.rollout.steps import Step


def split(before: ManifestPlan, after: ManifestPlan, type: PatchType) -> Iterator[Step]:
    canary, served = after.spec.canary, after.canary
    assert canary is not None  # noqa: S101 - the planner comes here with a canary only
    assert served is not None  # noqa: S101
    yield Step(
        f"send {canary.percent} % of the traffic to {canary.model}",
        patches(before, after, type),
        requires=(ready(before, 1),),
        waits=(canary_ready(after, served, 1),) if canary.percent else (),
        back=patches(after, before),
    )


def promote(before: ManifestPlan, after: ManifestPlan, type: PatchType, force: bool) -> Iterator[Step]:
    served = before.canary
    assert served is not None  # noqa: S101 - see above
    yield Step(
        f"send all of the traffic to {after.spec.model}",
        patches(before, after, type),
        requires=() if force else (canary_ready(before, served, before.spec.replicas.min),),
        waits=(ready(after, after.spec.replicas.min),),
        back=patches(after, before),
    )


def undo(before: ManifestPlan, after: ManifestPlan, type: PatchType) -> Iterator[Step]:
    served = before.canary
    ended = (Gone("Deployment", workload(before, served)),) if served else ()
    yield Step(
        f"send all of the traffic to {after.spec.model}",
        patches(before, after, type),
        waits=(ready(after, after.spec.replicas.min), *ended),
        back=patches(after, before),
    )


def canary_ready(plan: ManifestPlan, served: Served, pods: int) -> Ready:
    return Ready(workload(plan, served), pod_marks(plan, served), max(1, pods))


def workload(plan: ManifestPlan, served: Served) -> str:
    """The Deployment that KServe makes for a canary."""
    return f"{plan.spec.name}-{served.name}-predictor"
