"""The hand-over of host names between KServe's routes and ours, without a request lost."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.resources.inference_service import VISIBILITY
from generator.resources.routes import own_route
from generator.rollout.actions import ApplyDocuments, Delete, Patch
from generator.rollout.conditions import Accepted, Exists, Gone
from generator.rollout.parts import ISVC, ROUTE
from generator.rollout.steps import Step
from generator.rollout.weights import accepted, names, only_serve, routes, split_patches, with_shares

SETTLE_SECONDS = 2.0
"""Time in which KServe would make a route again that it should leave alone."""


def take_over(after: ManifestPlan) -> Iterator[Step]:
    """Our route takes the place of KServe's, with all of the traffic to the serve at first.

    While both are there, KServe's comes first, since it is older.
    """
    spec = after.spec
    ours = tuple(with_shares(each, only_serve(after)) for each in routes(after))
    gone = tuple(Gone(ROUTE, name) for name in kserve_routes(after))
    yield Step(
        f"make the route {own_route(after)}, with all of the traffic to {spec.name}",
        (ApplyDocuments(ours),),
        waits=accepted(after),
        moot=(*(Exists(ROUTE, name) for name in names(after)), *gone),
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
    """KServe makes its routes again, and ours goes when they lead to the serve."""
    theirs = tuple(Accepted(name) for name in kserve_routes(after))
    yield Step(
        "let KServe make its routes again",
        (visibility(after, None),),
        waits=theirs,
        back=(visibility(after, "cluster-local"),),
    )
    yield Step(
        f"delete the route {own_route(before)}",
        (Delete(ROUTE, own_route(before), before.spec.namespace), *split_patches(after)),
        requires=theirs,
        waits=(Gone(ROUTE, own_route(before)), *accepted(after)),
    )


def visibility(plan: ManifestPlan, value: str | None) -> Patch:
    return Patch(ISVC, plan.spec.name, plan.spec.namespace, {"metadata": {"labels": {VISIBILITY: value}}})


def kserve_routes(plan: ManifestPlan) -> list[str]:
    """The names of the routes that KServe makes for the serve."""
    return [plan.spec.name, plan.workload]
