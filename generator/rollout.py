"""Steps of a rollout: a canary gets part of the traffic, then all or none. A step is a new spec with patches."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from generator.facts import ModelFacts
from generator.patches import json_patch, merge_patch
from generator.plan import ManifestPlan
from generator.problems import SpecError, problem
from generator.render import planned, resources
from generator.resources.meta import Resource
from generator.spec import Canary, ServeSpec

Facts = Mapping[str, ModelFacts] | None
PatchType = Literal["merge", "json"]


@dataclass(frozen=True, slots=True)
class Patch:
    """The change of one resource."""

    kind: str
    name: str
    namespace: str
    content: Any
    type: PatchType

    def command(self, context: str | None = None, file: str | None = None) -> str:
        """The kubectl command that applies the patch, from a file if given."""
        patch = ["--patch-file", file] if file else ["--patch", json.dumps(self.content, ensure_ascii=False)]
        where = ["--context", context] if context else []
        what = ["kubectl", *where, "patch", self.kind.lower(), self.name, "--namespace", self.namespace]
        return shlex.join([*what, "--type", self.type, *patch])


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a rollout."""

    spec: ServeSpec
    """The spec after the step; its rendered manifests are the result of the patches."""
    patches: list[Patch]
    note: str


def canary(spec: ServeSpec, target: Canary, facts: Facts = None, type: PatchType = "merge") -> Step:
    """Sends a share of the traffic to another model, or changes the share."""
    after = spec.model_copy(update={"canary": target})
    what = f"{target.percent} % of the traffic goes to {target.model}, the rest to {spec.model}"
    return step(spec, after, facts, type, what)


def promote(spec: ServeSpec, facts: Facts = None, type: PatchType = "merge") -> Step:
    """Makes the canary the stable model."""
    target = canary_in(spec)
    plan = planned(spec, facts)
    assert plan.canary is not None  # noqa: S101 - the plan of a spec with a canary has one
    after = spec.model_copy(
        update={
            "model": target.model,
            "canary": None,
            "revision": plan.canary.name if not plan.knative else None,
            "flavor": plan.canary.flavor if plan.canary.forced else None,
            "image": target.image or spec.image,
            # The size of the old model does not apply to the new one.
            "model_size": None if target.model != spec.model else spec.model_size,
        }
    )
    return step(spec, after, facts, type, f"all of the traffic goes to {target.model}")


def rollback(spec: ServeSpec, facts: Facts = None, type: PatchType = "merge") -> Step:
    """Takes all traffic from the canary.

    Knative keeps the canary as a revision without traffic, so that no pod has to start; the next `render` without a
    canary makes the old model the newest revision. Standard removes the canary.
    """
    target = canary_in(spec)
    after = spec.model_copy(
        update={"canary": target.model_copy(update={"percent": 0}) if spec.mode == "Knative" else None}
    )
    return step(spec, after, facts, type, f"none of the traffic goes to {target.model}, all of it to {spec.model}")


def canary_in(spec: ServeSpec) -> Canary:
    if spec.canary is None:
        raise SpecError([problem("canary", "is not set: expected canary: {model: …, percent: …}, as on the cluster")])
    return spec.canary


def step(before: ServeSpec, after: ServeSpec, facts: Facts, type: PatchType, note: str) -> Step:
    old, new = planned(before, facts), planned(after, facts)
    return Step(after, patches(keyed(old), keyed(new), type), note)


def patches(
    old: Mapping[tuple[str, str], Resource], new: Mapping[tuple[str, str], Resource], type: PatchType
) -> list[Patch]:
    """A patch for each changed resource; a rollout neither adds nor removes resources."""
    make = merge_patch if type == "merge" else json_patch
    result = []
    for key, resource in new.items():
        if content := make(old[key], resource):
            result.append(
                Patch(resource["kind"], resource["metadata"]["name"], resource["metadata"]["namespace"], content, type)
            )
    return result


def keyed(plan: ManifestPlan) -> dict[tuple[str, str], Resource]:
    return {(resource["kind"], resource["metadata"]["name"]): resource for resource in resources(plan)}
