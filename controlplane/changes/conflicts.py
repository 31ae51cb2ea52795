"""The two ways out of a conflict: what others have set becomes a revision, or is overwritten by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.backends.kserve.fields import combined
from controlplane.changes.context import ChangeContext
from controlplane.changes.deploy import Begun, begin
from controlplane.decide import FieldConflict
from controlplane.domain.infra import patched
from controlplane.domain.problems import conflict
from controlplane.store import environments, serves, targets
from controlplane.store.targets import Revision

WORDS = {"minReplicas": "min", "maxReplicas": "max"}
"""Fields of the predictor that the spec has words for, below `replicas`; others become its `patch`."""


def adopt(context: ChangeContext, serve: str, env: str, conflicts: Sequence[FieldConflict]) -> Begun:
    """A revision with the values that others have set."""
    environment = environments.get(context.tx, env)
    deployed = wanted(context, serve, env)
    if elsewhere := [each for each in conflicts if not each.resource.startswith("InferenceService ")]:
        raise conflict(
            f"a serve has no words for what others have changed: {elsewhere[0]}",
            f"POST /api/v1/serve/{serve}/take-over/{env} sets it back",
        )
    if not conflicts:
        raise conflict(f"nobody else has changed {serve} in {env}", "there is nothing to adopt")
    infra = patched(deployed.content.infra, spec_of(conflicts, deployed.content.infra))
    known = serves.infra(context.tx, serve, env)
    serves.set_infra(context.tx, context.now, serve, env, infra, known)
    content = deployed.content.model_copy(update={"infra": infra})
    reason = "; ".join(f"{each.field} = {each.theirs!r}, set by {each.manager}" for each in conflicts)
    return begin(context, "adopt", serve, environment, content, f"adopted: {reason}"[:1000])


def take_over(context: ChangeContext, serve: str, env: str) -> Begun:
    """The wanted revision again, which overwrites what others have set."""
    environment = environments.get(context.tx, env)
    content = wanted(context, serve, env).content
    return begin(context, "take-over", serve, environment, content, "what others have set is overwritten")


def wanted(context: ChangeContext, serve: str, env: str) -> Revision:
    serves.get(context.tx, serve)
    target = targets.find(context.tx, serve, env)
    if target is None or target.wanted is None:
        raise conflict(f"{serve} is not deployed in {env}", "POST /api/v1/serve/deploy-model deploys it")
    return targets.revision(context.tx, serve, env, target.wanted)


def spec_of(conflicts: Sequence[FieldConflict], infra: Mapping[str, Any]) -> dict[str, Any]:
    """The values of others in the words of the spec."""
    patch: dict[str, Any] = {}
    for each in conflicts:
        patch = combined(patch, each.overlay)
    predictor = dict(patch.get("spec", {}).get("predictor", {}))
    replicas = {word: predictor.pop(name) for name, word in WORDS.items() if name in predictor}
    if "spec" in patch:
        patch["spec"] = {**patch["spec"], "predictor": predictor} if predictor else without(patch["spec"], "predictor")
    patch = {name: value for name, value in patch.items() if value}
    return {
        **({"replicas": replicas} if replicas else {}),
        **({"patch": combined(infra.get("patch", {}), patch)} if patch else {}),
    }


def without(mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}
