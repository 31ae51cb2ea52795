"""The pure function from a spec, and facts about its models, to resources."""

from __future__ import annotations

from collections.abc import Mapping

from generator.facts import ModelFacts
from generator.plan import ManifestPlan, decide
from generator.problems import SpecError
from generator.resources import accounts, cache, disruption, mesh, monitors, network, routes, services, watching
from generator.resources.inference_service import inference_service
from generator.resources.keda import scaled_object
from generator.resources.meta import Resource
from generator.resources.schedule import schedule
from generator.rules import problems_of
from generator.spec import ServeSpec


def render(spec: ServeSpec, facts: Mapping[str, ModelFacts] | None = None) -> list[Resource]:
    """The resources of a serve, in the order in which they should be applied.

    `facts` are those of the models, by URI; without them the spec must name the flavor.
    Raises SpecError with all problems.
    """
    return resources(planned(spec, facts))


def planned(
    spec: ServeSpec, facts: Mapping[str, ModelFacts] | None = None, becomes: ServeSpec | None = None
) -> ManifestPlan:
    """The plan for the spec, if it can be rendered; `becomes` as in `decide`."""
    plan = decide(spec, facts, becomes=becomes)
    if problems := problems_of(plan):
        raise SpecError(problems)
    return plan


def resources(plan: ManifestPlan) -> list[Resource]:
    """The resources of a plan, in the order of their dependencies."""
    return [
        *accounts.resources_of(plan),
        *cache.resources_of(plan),
        *network.resources_of(plan),
        inference_service(plan),
        *scaled_object(plan),
        *schedule(plan),
        *disruption.resources_of(plan),
        *(each for canary in plan.behind for each in resources(canary)),
        *services.resources_of(plan),
        *routes.resources_of(plan),
        *mesh.resources_of(plan),
        *monitors.resources_of(plan),
        *watching.resources_of(plan),
    ]
