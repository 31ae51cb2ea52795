"""The commands of a rollout as plans: pure functions of the spec, facts about its models, and what the cluster has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from generator.facts import ModelFacts
from generator.plan import ManifestPlan
from generator.problems import SpecError, problem
from generator.render import planned, resources
from generator.resources.meta import CANARY_OF
from generator.rollout import by_knative, by_kserve, by_route, specs
from generator.rollout.actions import ApplyDocuments, PatchType
from generator.rollout.observed import ObservedServe
from generator.rollout.parts import ISVC, ready, revision_ready
from generator.rollout.steps import RolloutPlan, Step
from generator.spec import Canary, ServeSpec

Facts = Mapping[str, ModelFacts] | None
WAYS = "mode: Knative, or a KServe whose ingress is the Gateway API (enableGatewayApi in its inferenceservice-config)"


def canary(
    spec: ServeSpec,
    target: Canary,
    facts: Facts = None,
    type: PatchType = "merge",
    observed: ObservedServe | None = None,
    force: bool = False,
    becomes: ServeSpec | None = None,
) -> RolloutPlan:
    """Sends a share of the traffic to another model, or changes the share.

    `becomes` is the serve once the canary is promoted, where more of it changes than its model.
    """
    goal = specs.with_canary(spec, target)
    start = specs.without(spec, target) if target in spec.canaries and observed else spec
    before, after = planned(start, facts, becomes), planned(goal, facts, becomes)
    refuse(after, observed, force)
    note = f"{target.percent} % of the traffic goes to {target.model}, the rest to {spec.model}"
    if spec.variants or goal.variants:
        note = f"{target.percent} % of the traffic goes to {target.model}"
    return plan_of(goal, first(before, observed), split(before, after, type, observed), note)


def promote(
    spec: ServeSpec,
    facts: Facts = None,
    type: PatchType = "merge",
    observed: ObservedServe | None = None,
    force: bool = False,
    name: str | None = None,
    becomes: ServeSpec | None = None,
) -> RolloutPlan:
    """Makes the canary the stable model, or what the serve `becomes`."""
    winner = specs.canary_in(spec, name)
    before = planned(spec, facts, becomes)
    goal = becomes or specs.promoted(spec, before, winner)
    after = planned(goal, facts)
    refuse(before, observed, force)
    note = f"all of the traffic goes to {winner.model}"
    if before.behind:
        chosen = before.behind[spec.canaries.index(winner)]
        note = f"{winner.model} takes the place of {spec.model}" if goal.canaries else note
        return plan_of(goal, by_route.promote(before, after, chosen, observed, force), [], note)
    if before.knative:
        return plan_of(goal, by_knative.promote(before, after, type, force), [], note)
    return plan_of(goal, by_kserve.promote(before, after, type, force), [], note)


def rollback(
    spec: ServeSpec,
    facts: Facts = None,
    type: PatchType = "merge",
    observed: ObservedServe | None = None,
    name: str | None = None,
) -> RolloutPlan:
    """Takes all traffic from the canary at once.

    The canary stays without traffic, for people to inspect it, or to give it traffic again; `undo` ends it. With
    by: kserve it goes.
    """
    target = specs.canary_in(spec, name) if name else None
    goal = specs.rolled_back(spec, name)
    before, after = planned(spec, facts), planned(goal, facts)
    loser = target or specs.canary_in(spec, specs.called(spec.canaries[0]) if spec.canaries else None)
    note = f"none of the traffic goes to {loser.model}, all of it to {spec.model}"
    if name and len(spec.canaries) > 1:
        note = f"none of the traffic goes to {loser.model}"
    if not goal.canaries:
        return plan_of(goal, by_kserve.undo(before, after, type), [], note)
    return plan_of(goal, split(before, after, type, observed), [], note)


def undo(
    spec: ServeSpec,
    facts: Facts = None,
    type: PatchType = "merge",
    observed: ObservedServe | None = None,
    becomes: ServeSpec | None = None,
) -> RolloutPlan:
    """Ends a rollout with the model before it: takes the canaries away, or takes the last promotion back.

    Canaries that only the cluster knows, from a run that did not end, are taken away as well.
    """
    if not spec.canaries and (left := leftovers(spec, observed)):
        spec = spec.model_copy(update={"canary": left[0], "variants": left[1:]})
    goal = specs.undone(spec)
    before, after = planned(spec, facts, becomes), planned(goal, facts)
    note = f"all of the traffic goes to {goal.model}"
    if before.knative:
        return plan_of(goal, by_knative.undo(before, after, type), [], note)
    if before.canary is not None:
        return plan_of(goal, by_kserve.undo(before, after, type), [], note)
    return plan_of(goal, by_route.undo(before, after, observed), [], note)


def leftovers(spec: ServeSpec, observed: ObservedServe | None) -> list[Canary]:
    """Canaries of the serve in the cluster; what they serve no longer matters."""
    if observed is None or spec.mode == "Knative":
        return []
    names = [
        name
        for (kind, name), each in observed.objects.items()
        if kind == ISVC and each["metadata"].get("labels", {}).get(CANARY_OF) == spec.name
    ]
    return [
        Canary(model=f"models:/{name}/0", percent=0, name=name.removeprefix(f"{spec.name}-")) for name in sorted(names)
    ]


def plan_of(goal: ServeSpec, first: Iterable[Step], then: Iterable[Step], note: str) -> RolloutPlan:
    steps = tuple(step for step in (*first, *then) if step.actions)
    return RolloutPlan(goal, steps, note)


def split(before: ManifestPlan, after: ManifestPlan, type: PatchType, observed: ObservedServe | None) -> Iterable[Step]:
    if after.behind:
        return by_route.split(before, after, observed)
    if after.knative:
        return by_knative.split(before, after, type)
    return by_kserve.split(before, after, type)


def first(before: ManifestPlan, observed: ObservedServe | None) -> list[Step]:
    """A serve that is not there yet is made without its canary, so that there is something to compare with."""
    if observed is None or observed.get(ISVC, before.spec.name) is not None:
        return []
    is_up = revision_ready(before) if before.knative else ready(before, before.spec.replicas.min)
    return [Step(f"make {before.spec.name}", (ApplyDocuments(tuple(resources(before))),), waits=(is_up,))]


def refuse(plan: ManifestPlan, observed: ObservedServe | None, force: bool) -> None:
    """What the cluster cannot do, it should not be asked to do."""
    if observed is None or plan.knative:
        return
    traits = observed.traits
    for each in plan.behind:
        there = observed.get(ISVC, each.spec.name)
        owner = (there or {}).get("metadata", {}).get("labels", {}).get(CANARY_OF)
        if there is not None and owner != plan.spec.name:
            raise SpecError(
                [
                    problem(
                        "canary.name", f"there is an InferenceService {each.spec.name} already: expected another name"
                    )
                ]
            )
    if plan.canary is not None and observed.get(ISVC, f"{plan.spec.name}-{plan.canary.name}") is not None:
        name = f"{plan.spec.name}-{plan.canary.name}"
        raise SpecError(
            [problem("canary.name", f"KServe would name its Deployment like that of {name}: expected another name")]
        )
    if force:
        return
    if traits.gateway_api is False:
        raise SpecError(
            [problem("canary", f"KServe of this cluster makes Ingresses, which split no traffic: expected {WAYS}")]
        )
    if plan.canary is not None and traits.splits is False:
        release = f" {traits.release}" if traits.release else ""
        raise SpecError(
            [
                problem(
                    "canary.by",
                    f"KServe{release} of this cluster sends the canaries of spec.canary no traffic, whatever their "
                    "status says: expected by: route, or mode: Knative",
                )
            ]
        )
