"""Changes of environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.backends.backend import FoundServe
from controlplane.changes.context import ChangeContext
from controlplane.domain.bodies import read, unwrapped
from controlplane.domain.environments import WRAPPER, EnvironmentConfig, NewEnvironment, config_problems
from controlplane.domain.overlays import merged
from controlplane.domain.problems import ApiProblem, conflict, unprocessable, wrong_field
from controlplane.domain.serves import NewServe
from controlplane.store import artifacts, environments, operations, serves, targets
from controlplane.store.environments import Environment, stored


def create(context: ChangeContext, body: Any) -> Environment:
    said = read(body, NewEnvironment, [WRAPPER])
    if environments.find(context.tx, said.name) is not None:
        raise conflict(f"there is an environment '{said.name}' already", "PATCH changes it; choose another name")
    refuse_unusable(said.config())
    environment = environments.add(context.tx, context.now, said.name, said.config())
    context.note("environment.create", env=said.name, after=stored(environment.config))
    return environment


def patch(context: ChangeContext, old: Environment, body: Any) -> Environment:
    """Changes what the body names. What is deployed keeps the environment as it was until it is deployed again."""
    if not isinstance(body, dict):
        raise ApiProblem(422, "the body is not a JSON object", way_out="send an object with the fields to change")
    flat, _, problems = unwrapped(body, [WRAPPER])
    if problems:
        raise unprocessable(problems)
    if flat.pop("name", old.name) != old.name:
        raise wrong_field("name", "cannot be changed", old.name)
    config = read(merged(stored(old.config), flat), EnvironmentConfig)
    refuse_unusable(config)
    if config.place != old.config.place and (users := deployed_in(context, old.name)):
        raise conflict(
            f"environment '{old.name}' cannot move while {', '.join(users[:10])} run there",
            "undeploy these serves first, or make another environment",
            serves=users,
        )
    environment = environments.change(context.tx, context.now, old, config)
    context.note("environment.change", env=old.name, before=stored(old.config), after=stored(config))
    return environment


def refuse_unusable(config: EnvironmentConfig) -> None:
    """Raises ApiProblem (422)."""
    if problems := config_problems(config):
        raise unprocessable(problems)


def deployed_in(context: ChangeContext, env: str) -> list[str]:
    """The serves that are, or are about to be."""
    rows = targets.in_environment(context.tx, env)
    return [row.serve for row in rows if (row.wanted, row.active, row.operation) != (None, None, None)]


def adopt(context: ChangeContext, environment: Environment, found: Sequence[FoundServe]) -> list[dict[str, Any]]:
    """Brings back what a back end has and the store has lost; what the store knows stays as it is."""
    return [adopted(context, environment, each) for each in found]


def adopted(context: ChangeContext, environment: Environment, there: FoundServe) -> dict[str, Any]:
    serve, env, content = there.key.serve, environment.name, there.content
    outcome = {"serve": serve, "revision": there.revision, "sha256": content.sha256}
    known = targets.find(context.tx, serve, env)
    if known is not None and known.last_revision > 0:
        return {**outcome, "outcome": "known"}
    if serves.find(context.tx, serve) is None:
        serves.add(context.tx, context.now, NewServe(name=serve, description="adopted from the cluster"))
    artifact = artifacts.find(context.tx, serve, content.artifact_version)
    if artifact is None:
        artifacts.add(
            context.tx, context.now, serve, content.artifact_version, content.model_uri, context.actor.name
        )  # fmt: skip
    if (infra := serves.infra(context.tx, serve, env)) is None:
        serves.set_infra(context.tx, context.now, serve, env, content.infra, infra)
    target = targets.ensured(context.tx, context.now, serve, env)
    target = targets.change(context.tx, context.now, target, last_revision=there.revision - 1)
    revision = targets.add_revision(
        context.tx, context.now, target, content, context.actor.name, "adopted from the cluster", None
    )  # fmt: skip
    operation = operations.add(
        context.tx, context.now, "adopt", serve, env, revision.number, context.actor.name, 0.0
    )  # fmt: skip
    operations.end(context.tx, context.now, operation, "SUCCEEDED")
    targets.add_deployment(context.tx, context.now, revision, operation.id)
    targets.set_deployment(context.tx, context.now, target, revision.number, "ACTIVE")
    targets.change(
        context.tx, context.now, target,
        wanted=revision.number, active=revision.number, last_revision=revision.number,
    )  # fmt: skip
    context.note("adopt", serve=serve, env=env, operation=operation.id, after={"revision": revision.number})
    context.dirty.append(there.key)
    return {**outcome, "outcome": "adopted"}


def delete(context: ChangeContext, old: Environment) -> None:
    users = sorted({
        *serves.configured_in(context.tx, old.name),
        *(target.serve for target in targets.in_environment(context.tx, old.name)),
    })  # fmt: skip
    if users:
        raise conflict(
            f"environment '{old.name}' is used by {', '.join(users[:10])}",
            "undeploy these serves and delete them first",
            serves=users,
        )
    environments.remove(context.tx, old)
    context.note("environment.delete", env=old.name, before=stored(old.config))
