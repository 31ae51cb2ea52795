"""What only the cluster knows of a serve: host names and gateway, from the routes that lead to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generator.plan import ManifestPlan
from generator.problems import SpecError, problem
from generator.resources.meta import Resource
from generator.resources.routes import own_route
from generator.rollout.observed import ObservedServe
from generator.rollout.parts import ROUTE
from generator.rollout.takeover import kserve_routes
from generator.spec import ServeSpec

DEFAULT_PATHS = {"^/.*$", "/", r"^/inference\.GRPCInferenceService/.*$"}


def with_hosts(
    spec: ServeSpec,
    plan: ManifestPlan,
    observed: ObservedServe,
    hosts: Sequence[str] = (),
    gateway: str | None = None,
) -> ServeSpec:
    """The spec with host names and gateway as the routes of its plan have them, unless it names its own.

    Without routes they are those that are given.
    """
    routes = [route for name in [*kserve_routes(plan), own_route(plan)] if (route := observed.get(ROUTE, name))]
    for name in kserve_routes(plan):
        refuse_paths(observed.get(ROUTE, name) or {"spec": {}})
    fields: dict[str, Any] = {}
    if not plan.hosts:
        known = [host for route in routes for host in route["spec"].get("hostnames", [])] or hosts
        fields["hosts"] = list(dict.fromkeys(known))
    if "gateway" not in spec.exposure.model_fields_set:
        named = next(filter(None, map(gateway_of, routes)), gateway)
        if named and named != spec.exposure.gateway:
            fields["gateway"] = named
    return spec.model_copy(update={"exposure": spec.exposure.model_copy(update=fields)}) if fields else spec


def gateway_of(route: Resource) -> str | None:
    for parent in route["spec"].get("parentRefs", []):
        return f"{parent.get('namespace', route['metadata'].get('namespace'))}/{parent['name']}"
    return None


def refuse_paths(route: Resource) -> None:
    """KServe's pathTemplate adds rules for paths, which our route does not have."""
    paths = {
        match["path"].get("value")
        for rule in route["spec"].get("rules", [])
        for match in rule.get("matches", [])
        if "path" in match
    }
    if others := sorted(str(path) for path in paths - DEFAULT_PATHS):
        raise SpecError(
            [
                problem(
                    "canary",
                    f"the HTTPRoute {route['metadata']['name']} also leads {others[0]} to the serve (pathTemplate), "
                    "which a route of ours would not: expected by: kserve, or no pathTemplate in "
                    "inferenceservice-config",
                )
            ]
        )
