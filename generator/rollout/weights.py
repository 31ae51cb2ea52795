"""The rules of our routes with other shares than the plan's: all to the serve, or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from generator.plan import ManifestPlan
from generator.resources.meta import Resource
from generator.resources.routes import resources_of, shares
from generator.rollout.actions import Patch
from generator.rollout.conditions import Accepted, Weights
from generator.rollout.parts import ROUTE

Split = Sequence[tuple[str, int | None]]


def routes(plan: ManifestPlan) -> list[Resource]:
    """Our routes that lead to the serve."""
    return [each for each in resources_of(plan) if each["kind"] == ROUTE]


def names(plan: ManifestPlan) -> list[str]:
    return [each["metadata"]["name"] for each in routes(plan)]


def split_patches(plan: ManifestPlan, split: Split | None = None) -> tuple[Patch, ...]:
    """Patches that give our routes the rules of the plan, with other shares if given."""
    ours = [each if split is None else with_shares(each, split) for each in routes(plan)]
    return tuple(
        Patch(ROUTE, each["metadata"]["name"], plan.spec.namespace, {"spec": {"rules": each["spec"]["rules"]}})
        for each in ours
    )


def with_shares(route: Resource, split: Split) -> Resource:
    """The route with these shares for everybody, and nothing for testers and shadows."""
    weight = dict(split)
    rules = []
    for rule in route["spec"]["rules"][-2:]:
        backends = [{**each, "weight": weight[each["name"]]} for each in rule["backendRefs"] if each["name"] in weight]
        filters = [each for each in rule["filters"] if each["type"] != "RequestMirror"]
        rules.append({**rule, "filters": filters, "backendRefs": backends})
    return {**route, "spec": {**route["spec"], "rules": rules}}


def all_to_serve(plan: ManifestPlan) -> Split:
    """All to the serve itself. Canaries stay on the route, since some gateways forget a Service before its share."""
    return [*only_serve(plan), *((each.workload, 0) for each in plan.behind)]


def without_winner(before: ManifestPlan, after: ManifestPlan) -> Split:
    """The shares after a promotion on the routes before it, where the winner gets nothing more."""
    new = {name: 100 if share is None else share for name, share in shares(after)}
    return [(name, new.get(name, 0)) for name, _ in shares(before)]


def only_serve(plan: ManifestPlan) -> Split:
    return [(plan.workload, 100)]


def all_to(plan: ManifestPlan, winner: ManifestPlan) -> Split:
    """The shares when the winner has that of the serve as well."""
    now = {name: share or 0 for name, share in shares(plan)}
    return [
        (name, 0 if name == plan.workload else share + (now[plan.workload] if name == winner.workload else 0))
        for name, share in now.items()
    ]


def accepted(plan: ManifestPlan) -> tuple[Accepted, ...]:
    return tuple(Accepted(name) for name in names(plan))


def weights(plan: ManifestPlan, split: Split | None = None) -> tuple[Weights, ...]:
    given = tuple((name, 1 if share is None else share) for name, share in split or shares(plan))
    return tuple(Weights(name, given) for name in names(plan))


def in_words(split: Iterable[tuple[str, int | None]]) -> str:
    return ", ".join(f"{100 if share is None else share} % to {name}" for name, share in split)
