"""Changes of environments."""

from __future__ import annotations

from typing import Any

from controlplane.changes.context import ChangeContext
from controlplane.domain.bodies import read, unstorable, unwrapped
from controlplane.domain.environments import WRAPPER, EnvironmentConfig, NewEnvironment
from controlplane.domain.overlays import merged
from controlplane.domain.problems import ApiProblem, conflict, unprocessable, wrong_field
from controlplane.store import environments, serves, targets
from controlplane.store.environments import Environment, stored


def create(context: ChangeContext, body: Any) -> Environment:
    said = read(body, NewEnvironment, [WRAPPER])
    if environments.find(context.tx, said.name) is not None:
        raise conflict(f"there is an environment '{said.name}' already", "PATCH changes it; choose another name")
    environment = environments.add(context.tx, context.now, said.name, said.config())
    context.note("environment.create", env=said.name, after=stored(environment.config))
    return environment


def patch(context: ChangeContext, old: Environment, body: Any) -> Environment:
    """Changes what the body names. What is deployed keeps the environment as it was until it is deployed again."""
    if not isinstance(body, dict):
        raise ApiProblem(422, "the body is not a JSON object", way_out="send an object with the fields to change")
    if place := unstorable(body):
        raise wrong_field(place, "holds a character that no database stores", "text in Unicode")
    flat, _, problems = unwrapped(body, [WRAPPER])
    if problems:
        raise unprocessable(problems)
    if flat.pop("name", old.name) != old.name:
        raise wrong_field("name", "cannot be changed", old.name)
    config = read(merged(stored(old.config), flat), EnvironmentConfig)
    environment = environments.change(context.tx, context.now, old, config)
    context.note("environment.change", env=old.name, before=stored(old.config), after=stored(config))
    return environment


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
