"""Standard mode by a route of ours: canaries are serves of their own, and weights decide who gets how much.

The serve keeps its name, its Services and its pods all the while. A promotion updates it behind weight 0 and gives the
weight back. KServe's own routes step aside while ours is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.canary_serve import pods_for
from generator.plan import ManifestPlan
from generator.resources.inference_service import VISIBILITY
from generator.resources.meta import Resource
from generator.resources.routes import own_route, shares
from generator.rollout.actions import ApplyDocuments, Delete, Patch
from generator.rollout.conditions import Condition, Gone, MinReplicas
from generator.rollout.observed import ObservedServe
from generator.rollout.parts import ISVC, ROUTE, described, keyed, patch, predictor_patch, ready, running
from generator.rollout.steps import Step
from generator.rollout.takeover import give_back, kserve_routes, take_over
from generator.rollout.weights import accepted, all_to, all_to_serve, in_words, split_patches, weights, without_winner


def split(before: ManifestPlan, after: ManifestPlan, observed: ObservedServe | None) -> Iterator[Step]:
    """From any shares to others; canaries that are not there yet are started first."""
    old = {each.spec.name: each for each in before.behind if is_there(each, observed)}
    total = running(before, observed)
    changed = [each for each in after.behind if each.spec.name in old and differs(old[each.spec.name], each)]
    if changed:
        yield Step(
            f"take the traffic from {', '.join(each.spec.name for each in changed)}",
            split_patches(before, all_to_serve(before)),
            requires=(ready(before, 1),),
            waits=accepted(before),
            moot=tuple(described(each) for each in changed),
            back=split_patches(before),
        )
    pods = {
        each.spec.name: pods_for(canary, total) for canary, each in zip(after.spec.canaries, after.behind, strict=True)
    }
    for each in after.behind:
        name = each.spec.name
        if name not in old or each in changed:
            yield start(each, pods[name], old.get(name))
        elif pods[name] > pods_of(old[name], observed) or (
            gets_more(each, before, after) and pods[name] > available(each, observed)
        ):
            yield scale(each, pods[name])
    if not before.has_own_route or has_kserve_routes(after, observed):
        yield from take_over(after, observed)
    yield Step(
        f"split the traffic: {in_words(shares(after))}",
        split_patches(after),
        requires=(
            *(ready(each, 1) for each in with_requests(after)),
            *(Gone(ROUTE, name) for name in kserve_routes(after)),
        ),
        waits=(*accepted(after), *weights(after)),
        back=split_patches(before) if before.has_own_route else split_patches(after, all_to_serve(after)),
    )
    for each in after.behind:
        if (
            each.spec.name in old
            and each not in changed
            and pods[each.spec.name] < pods_of(old[each.spec.name], observed)
        ):
            yield Step(f"let {each.spec.name} scale down", (predictor_patch(each, number(each, pods[each.spec.name])),))
    yield from end(before, after)


def promote(
    before: ManifestPlan, after: ManifestPlan, winner: ManifestPlan, observed: ObservedServe | None, force: bool
) -> Iterator[Step]:
    """The serve itself gets the model of the winner, while the winner gets the serve's share of the traffic."""
    name, pods = after.spec.name, running(before, observed)
    updated = described(after)
    if observed is not None and updated.holds(observed):
        pods = max(1, pods_of(after, observed))  # an earlier run has begun, and the pods of both are there
    pods_of_serve = pods if holds_pods(after) else max(1, after.spec.replicas.min)
    over = (updated, over_when(before, after))
    requires = () if force else (ready(winner, winner.spec.replicas.min),)
    if observed is None or pods_of(winner, observed) < pods:
        yield scale(winner, pods, requires, (updated,))
    yield Step(
        f"send all of the serve's traffic to {winner.spec.name}: {in_words(all_to(before, winner))}",
        split_patches(before, all_to(before, winner)),
        requires=(ready(winner, pods),),
        waits=(*accepted(before), *weights(before, all_to(before, winner))),
        moot=(updated,),
        back=split_patches(before),
    )
    yield Step(
        f"update {name} to {after.spec.model}, while it gets no traffic",
        update(before, after, pods_of_serve),
        waits=(ready(after, pods_of_serve),),
        done=(updated, *([MinReplicas(name, pods_of_serve)] if holds_pods(after) else [])),
        moot=over,
        back=update(after, before, 0),
    )
    yield Step(
        f"give the traffic back to {name}",
        split_patches(before, without_winner(before, after)),
        requires=(ready(after, pods_of_serve),),
        waits=(*accepted(before), *weights(before, without_winner(before, after))),
        moot=over,
        back=split_patches(before, all_to(before, winner)),
    )
    yield from end(before, after)
    if holds_pods(after) and pods_of_serve > after.spec.replicas.min:
        yield Step(
            f"let {name} scale by its load again",
            (predictor_patch(after, {"minReplicas": after.spec.replicas.min}),),
            back=(predictor_patch(after, {"minReplicas": pods_of_serve}),),
        )


def undo(before: ManifestPlan, after: ManifestPlan, observed: ObservedServe | None) -> Iterator[Step]:
    """The canaries go; without any, the serve goes back to its model before by a rolling update."""
    if not before.behind:
        yield Step(
            f"update {after.spec.name} to {after.spec.model}",
            update(before, after, 0),
            waits=(ready(after, after.spec.replicas.min),),
            done=(described(after),),
            back=update(after, before, 0),
        )
        return
    routed = observed is None or observed.get(ROUTE, own_route(before)) is not None
    if routed:
        yield Step(
            f"send all of the traffic to {after.spec.name}",
            split_patches(before, all_to_serve(before)),
            requires=(ready(before, 1),),
            waits=(*accepted(before), *weights(before, all_to_serve(before))),
            moot=(over_when(before, after),),
            back=split_patches(before),
        )
    yield from end(before, after, routed)


def end(before: ManifestPlan, after: ManifestPlan, routed: bool = True) -> Iterator[Step]:
    """Canaries that have left the plan are deleted; without any, KServe's routes come back first, and ours goes.

    A canary that never got ready was never routed to.
    """
    gone = leaving(before, after)
    if before.has_own_route and not after.has_own_route:
        if routed:
            yield from give_back(before, after)
    elif gone:
        yield Step(
            f"take {', '.join(each.spec.name for each in gone)} off the route",
            split_patches(after),
            waits=(*accepted(after), *weights(after)),
        )
    for each in gone:
        yield Step(
            f"delete {each.spec.name}",
            tuple(Delete(kind, name, each.spec.namespace) for kind, name in reversed(keyed(each))),
            waits=(Gone(ISVC, each.spec.name),),
        )


def leaving(before: ManifestPlan, after: ManifestPlan) -> list[ManifestPlan]:
    stay = {each.spec.name for each in after.behind}
    return [each for each in before.behind if each.spec.name not in stay]


def over_when(before: ManifestPlan, after: ManifestPlan) -> Condition:
    """What tells that the traffic needs no more changes: our route is gone, or the canary that leaves it."""
    if not after.has_own_route:
        return Gone(ROUTE, own_route(before))
    return Gone(ISVC, leaving(before, after)[0].spec.name)


def start(canary: ManifestPlan, pods: int, old: ManifestPlan | None) -> Step:
    """Makes the canary, with as many pods as its share needs."""
    documents = tuple(with_pods(each, canary, pods) for each in keyed(canary).values())
    there = ready(canary, pods)
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    back = (
        (ApplyDocuments(tuple(keyed(old).values())),)
        if old
        else tuple(Delete(kind, name, canary.spec.namespace) for kind, name in reversed(names))
    )
    return Step(
        f"start {canary.spec.name} with {canary.spec.model}",
        (ApplyDocuments(documents),),
        waits=(there,),
        done=(there,),
        back=back,
    )


def scale(
    canary: ManifestPlan, pods: int, requires: tuple[Condition, ...] = (), moot: tuple[Condition, ...] = ()
) -> Step:
    """Gives the canary more pods before it gets more traffic."""
    return Step(
        f"scale {canary.spec.name} to {pods} pod{'s' if pods > 1 else ''}",
        (predictor_patch(canary, number(canary, pods)),),
        requires=requires,
        waits=(ready(canary, pods),),
        done=(MinReplicas(canary.spec.name, pods),),
        moot=moot,
        back=(predictor_patch(canary, number(canary, canary.spec.replicas.min)),),
    )


def with_pods(document: Resource, canary: ManifestPlan, pods: int) -> Resource:
    """The InferenceService with more pods than the spec says, because the serve has more than its minimum."""
    if document["kind"] != ISVC or pods <= canary.spec.replicas.min:
        return document
    return {**document, "spec": {"predictor": {**document["spec"]["predictor"], **number(canary, pods)}}}


def number(plan: ManifestPlan, pods: int) -> dict[str, int]:
    most = {"maxReplicas": max(plan.max_replicas, pods)} if plan.scaler != "none" else {}
    return {"minReplicas": pods, **most}


def update(before: ManifestPlan, after: ManifestPlan, pods: int) -> tuple[Patch, ...]:
    """The patches of the serve and what is around it, with at least so many pods; routes and canaries stay."""
    old, new = keyed(before), keyed(after)
    apart = {key for plan in (before, after) for each in plan.behind for key in keyed(each)}
    changes = []
    for key, resource in new.items():
        if key in old and key not in apart and key[0] != ROUTE:
            target = resource
            if key[0] == ISVC and pods > after.spec.replicas.min and holds_pods(after):
                predictor = {**resource["spec"]["predictor"], "minReplicas": pods}
                target = {**resource, "spec": {**resource["spec"], "predictor": predictor}}
            if change := patch(without_visibility(old[key]), without_visibility(target)):
                changes.append(change)
    return tuple(changes)


def without_visibility(resource: Resource) -> Resource:
    """The resource without the label that only the hand-over of the route changes."""
    labels = {key: value for key, value in resource["metadata"]["labels"].items() if key != VISIBILITY}
    return {**resource, "metadata": {**resource["metadata"], "labels": labels}}


def differs(one: ManifestPlan, other: ManifestPlan) -> bool:
    return (one.stable.uri, one.stable.image) != (other.stable.uri, other.stable.image)


def holds_pods(plan: ManifestPlan) -> bool:
    """Whether the number of pods of the serve is KServe's to set."""
    return plan.scaler != "external" and plan.scaled_object != "us"


def with_requests(plan: ManifestPlan) -> list[ManifestPlan]:
    """The serves behind the route that somebody waits for: shadows are nobody's."""
    shared = {name for name, share in shares(plan) if share != 0}
    tested = {each.workload for canary, each in zip(plan.spec.canaries, plan.behind, strict=True) if canary.testers}
    return [each for each in (plan, *plan.behind) if each.workload in shared | tested]


def is_there(canary: ManifestPlan, observed: ObservedServe | None) -> bool:
    return observed is None or observed.get(ISVC, canary.spec.name) is not None


def pods_of(canary: ManifestPlan, observed: ObservedServe | None) -> int:
    if observed is None:
        return canary.spec.replicas.min
    return observed.number(ISVC, canary.spec.name, "spec", "predictor", "minReplicas")


def available(canary: ManifestPlan, observed: ObservedServe | None) -> int:
    """Pods that are there: an earlier run may have asked for more and not have waited for them."""
    if observed is None:
        return canary.spec.replicas.min
    return observed.number("Deployment", canary.workload, "status", "availableReplicas")


def gets_more(canary: ManifestPlan, before: ManifestPlan, after: ManifestPlan) -> bool:
    old, new = (dict(shares(each)).get(canary.workload) or 0 for each in (before, after))
    return new > old


def has_kserve_routes(plan: ManifestPlan, observed: ObservedServe | None) -> bool:
    return observed is not None and any(observed.get(ROUTE, name) for name in kserve_routes(plan))
