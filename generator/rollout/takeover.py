"""The hand-over of host names between KServe's routes and ours, without a request lost.

A gateway may forget the pods behind a deleted route before it forgets the route. So a route that goes gets no requests
any more: ours comes before KServe's while both are there, and leads nobody's path any more before it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.resources.inference_service import VISIBILITY
from generator.resources.routes import own_route
from generator.rollout.actions import ApplyDocuments, Delete, Patch
from generator.rollout.conditions import Accepted, Exists, Gone
from generator.rollout.parts import ISVC, ROUTE
from generator.rollout.steps import Step
from generator.rollout.weights import accepted, all_to_serve, names, only_serve, routes, split_patches, with_shares

SETTLE_SECONDS = 2.0
"""Time for a gateway to follow a route that it has accepted, and for KServe to make one again that it should not."""
NOBODYS_PATH = {"type": "Exact", "value": "/released-route"}
"""What a route still leads when it is about to go."""


def take_over(after: ManifestPlan) -> Iterator[Step]:
    """Our route takes the place of KServe's, with all of the traffic to the serve at first."""
    spec = after.spec
    ours = tuple(with_shares(each, only_serve(after)) for each in routes(after))
    gone = tuple(Gone(ROUTE, name) for name in kserve_routes(after))
    yield Step(
        f"make the route {own_route(after)}, with all of the traffic to {spec.name}",
        (ApplyDocuments(ours),),
        waits=accepted(after),
        moot=(*(Exists(ROUTE, name) for name in names(after)), *gone),
        settle=SETTLE_SECONDS,
        back=tuple(Delete(ROUTE, each["metadata"]["name"], spec.namespace) for each in ours),
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
        back=(visibility(after, "cluster-local"),),
    )
    yield Step(
        f"leave the paths to KServe's routes rather than {ours}",
        (released(before),),
        requires=theirs,
        waits=(Accepted(ours),),
        moot=(Gone(ROUTE, ours),),
        settle=SETTLE_SECONDS,
        back=split_patches(before, all_to_serve(before)),
    )
    yield Step(
        f"delete the route {ours}",
        (Delete(ROUTE, ours, before.spec.namespace), *split_patches(after)),
        requires=theirs,
        waits=(Gone(ROUTE, ours), *accepted(after)),
    )


def released(plan: ManifestPlan) -> Patch:
    """The patch after which our route for KServe's host names leads no path that anybody asks for."""
    route = next(each for each in routes(plan) if each["metadata"]["name"] == own_route(plan))
    rules = with_shares(route, all_to_serve(plan))["spec"]["rules"]
    rules = [{**each, "matches": [{"path": NOBODYS_PATH}]} for each in rules]
    return Patch(ROUTE, own_route(plan), plan.spec.namespace, {"spec": {"rules": rules}})


def visibility(plan: ManifestPlan, value: str | None) -> Patch:
    return Patch(ISVC, plan.spec.name, plan.spec.namespace, {"metadata": {"labels": {VISIBILITY: value}}})


def kserve_routes(plan: ManifestPlan) -> list[str]:
    """The names of the routes that KServe makes for the serve."""
    return [plan.spec.name, plan.workload]
