"""The hand-over of host names between KServe's routes and ours, without a request lost.

A gateway may follow a route before it knows the pods behind it, and forget the pods of a deleted one before it forgets
the route. So ours leads nobody's path when it is made and when it is deleted, and comes before KServe's in between.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.resources.inference_service import VISIBILITY
from generator.resources.meta import Resource
from generator.resources.routes import own_route
from generator.rollout.actions import ApplyDocuments, Delete, Patch
from generator.rollout.conditions import Accepted, Exists, Gone
from generator.rollout.observed import ObservedServe
from generator.rollout.parts import ISVC, ROUTE
from generator.rollout.steps import Step
from generator.rollout.weights import accepted, all_to_serve, names, only_serve, routes, split_patches, with_shares

SETTLE_SECONDS = 2.0
"""Time for a gateway to follow a route that it has accepted, and for KServe to make one again that it should not."""
NOBODYS_PATH = {"type": "Exact", "value": "/released-route"}
"""What a route leads that has just been made, or is about to go."""


def take_over(after: ManifestPlan, observed: ObservedServe | None) -> Iterator[Step]:
    """Our route takes the place of KServe's, with all of the traffic to the serve at first."""
    spec = after.spec
    name = own_route(after)
    gone = tuple(Gone(ROUTE, each) for each in kserve_routes(after))
    over = (*(Exists(ROUTE, each) for each in names(after)), *gone)
    if observed is None or not leads_somebody(observed.get(ROUTE, name)):
        yield Step(
            f"make the route {name}, which leads no traffic as yet",
            (ApplyDocuments((nobodys_route(after),)),),
            waits=(Accepted(name),),
            done=(Exists(ROUTE, name),),
            moot=over,
            settle=SETTLE_SECONDS,
            back=(Delete(ROUTE, name, spec.namespace),),
        )
    yield Step(
        f"send all of the traffic to {spec.name} by {name}",
        (ApplyDocuments(tuple(with_shares(each, only_serve(after)) for each in routes(after))),),
        waits=accepted(after),
        moot=over,
        settle=SETTLE_SECONDS,
        back=(released(after),),
    )
    yield Step(
        "tell KServe to make no routes for the serve",
        (visibility(after, "cluster-local"),),
        back=(visibility(after, None),),
    )
    yield Step(
        "delete the routes that KServe made",
        tuple(Delete(ROUTE, name, spec.namespace) for name in kserve_routes(after)),
        requires=accepted(after),
        waits=gone,
        settle=SETTLE_SECONDS,
    )


def give_back(before: ManifestPlan, after: ManifestPlan) -> Iterator[Step]:
    """KServe makes its routes again. When they lead to the serve, ours leaves the paths to them, and then goes."""
    ours = own_route(before)
    theirs = tuple(Accepted(name) for name in kserve_routes(after))
    yield Step(
        "let KServe make its routes again",
        (visibility(after, None),),
        waits=theirs,
        settle=SETTLE_SECONDS,
        back=(visibility(after, "cluster-local"),),
    )
    yield Step(
        f"leave the paths to KServe's routes rather than {ours}",
        (ApplyDocuments((nobodys_route(before),)),),
        requires=theirs,
        waits=(Accepted(ours),),
        moot=(Gone(ROUTE, ours),),  # made again, it would be taken for the one that leads to the canary
        settle=SETTLE_SECONDS,
        back=split_patches(before, all_to_serve(before)),
    )
    yield Step(
        f"delete the route {ours}",
        (*split_patches(after), Delete(ROUTE, ours, before.spec.namespace)),
        requires=theirs,
        waits=(Gone(ROUTE, ours), *accepted(after)),
    )


def released(plan: ManifestPlan) -> Patch:
    """The patch after which our route for KServe's host names leads no path that anybody asks for."""
    return Patch(ROUTE, own_route(plan), plan.spec.namespace, {"spec": {"rules": nobodys_route(plan)["spec"]["rules"]}})


def nobodys_route(plan: ManifestPlan) -> Resource:
    """Our route for KServe's host names with the serve behind it, but no path that anybody asks for."""
    ours = next(each for each in routes(plan) if each["metadata"]["name"] == own_route(plan))
    route = with_shares(ours, only_serve(plan))
    rules = [{**each, "matches": [{"path": NOBODYS_PATH}]} for each in route["spec"]["rules"]]
    return {**route, "spec": {**route["spec"], "rules": rules}}


def leads_somebody(route: Resource | None) -> bool:
    """Whether a route is there, and has been released: an earlier run may have made it and not waited."""
    rules = route["spec"].get("rules", []) if route else []
    return any(match.get("path") != NOBODYS_PATH for rule in rules for match in rule.get("matches", [{}]))


def visibility(plan: ManifestPlan, value: str | None) -> Patch:
    return Patch(ISVC, plan.spec.name, plan.spec.namespace, {"metadata": {"labels": {VISIBILITY: value}}})


def kserve_routes(plan: ManifestPlan) -> list[str]:
    """The names of the routes that KServe makes for the serve."""
    return [plan.spec.name, plan.workload]
