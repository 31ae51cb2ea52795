"""Knative mode: KServe's canaryTrafficPercent splits the traffic between the newest revision and the one before it.

Until the newest revision is ready, the one before has all of the traffic. The end of a rollback needs care: without the
percent the newest ready revision gets everything, and as long as the percent stays 0 no later version gets anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.patches import json_patch, merge_patch
from generator.plan import ManifestPlan
from generator.resources.meta import Resource
from generator.rollout.actions import Patch, PatchType
from generator.rollout.conditions import CanaryPercent, LatestShare, RolledOut
from generator.rollout.parts import ISVC, described, keyed, patches, revision_ready
from generator.rollout.steps import Step

PERCENT = "canaryTrafficPercent"


def split(before: ManifestPlan, after: ManifestPlan, type: PatchType) -> Iterator[Step]:
    canary = after.spec.canary
    assert canary is not None  # noqa: S101 - the planner comes here with a canary only
    is_new = before.canary is None
    yield Step(
        f"send {canary.percent} % of the traffic to {canary.model}",
        patches(before, after, type),
        requires=(revision_ready(before), RolledOut(after.spec.name, after.workload)) if is_new else (),
        done=(described(after), CanaryPercent(after.spec.name, canary.percent)),
        waits=(*([revision_ready(after)] if canary.percent else []), LatestShare(after.workload, canary.percent)),
        back=patches(after, before),
    )


def promote(before: ManifestPlan, after: ManifestPlan, type: PatchType, force: bool) -> Iterator[Step]:
    yield Step(
        f"send all of the traffic to {after.spec.model}",
        patches(before, after, type),
        requires=() if force else (revision_ready(before),),
        waits=(revision_ready(after), LatestShare(after.workload, 100)),
        back=patches(after, before),
    )


def undo(before: ManifestPlan, after: ManifestPlan, type: PatchType) -> Iterator[Step]:
    """Back to the model before. With a canary, its percent stays 0 until a newer revision has the old model."""
    if before.canary is None:
        yield Step(
            f"update {after.spec.name} to {after.spec.model}",
            patches(before, after, type),
            waits=(revision_ready(after), LatestShare(after.workload, 100)),
            back=patches(after, before),
        )
        return
    old, new = keyed(before), keyed(after)
    key = (ISVC, after.spec.name)
    held = with_percent(new[key], 0)
    yield Step(
        f"make {after.spec.model} the newest revision, without traffic as yet",
        (change(old[key], held, type),),
        waits=(revision_ready(after),),
        done=(described(after),),
        back=(change(held, old[key], "merge"),),
    )
    yield Step(
        f"send all of the traffic to the newest revision, which is {after.spec.model}",
        (change(held, new[key], type),),
        requires=(revision_ready(after),),
        waits=(LatestShare(after.workload, 100),),
        back=(change(new[key], held, "merge"),),
    )


def with_percent(service: Resource, percent: int) -> Resource:
    predictor = {**service["spec"]["predictor"], PERCENT: percent}
    return {**service, "spec": {**service["spec"], "predictor": predictor}}


def change(old: Resource, new: Resource, type: PatchType) -> Patch:
    content = merge_patch(old, new) if type == "merge" else json_patch(old, new)
    return Patch(new["kind"], new["metadata"]["name"], new["metadata"]["namespace"], content, type)
