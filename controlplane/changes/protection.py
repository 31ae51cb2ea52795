"""Protected environments: who may begin a change there, and which changes wait for another person."""

from __future__ import annotations

from controlplane.changes.context import ChangeContext
from controlplane.domain.problems import ApiProblem
from controlplane.store import operations, serves, targets
from controlplane.store.environments import Environment
from controlplane.store.operations import Operation
from controlplane.store.targets import ServeTarget

CONTROL_PLANE = "controlplane"
"""What the control plane itself begins was allowed by whoever deployed the serve."""
HOUR = 3600.0


def refuse_others(context: ChangeContext, environment: Environment) -> None:
    """Raises ApiProblem (403) unless the environment lets the caller begin changes; roles were checked before."""
    allowed, name = environment.config.protection.deployers, context.actor.name
    if allowed and name not in allowed and name != CONTROL_PLANE:
        raise ApiProblem(
            403, f"{name} is not among those who may deploy in '{environment.name}'",
            way_out=f"ask one of them: {', '.join(allowed[:10])}",
        )  # fmt: skip


def held(
    context: ChangeContext, environment: Environment, operation: Operation, before: int | None, restores: int | None
) -> Operation:
    """A change that has been stored; it waits if the environment wants a second person, and `before` stays wanted.

    The way back is open: a revision that has served before needs nobody.
    """
    protection = environment.config.protection
    if not protection.second_person:
        return operation
    if restores is not None and targets.has_served(context.tx, operation.serve, operation.env, restores):
        return operation
    target = targets.find(context.tx, operation.serve, operation.env)
    if target is None:
        raise AssertionError("a change that has been stored has a target")
    operations.hold(context.tx, context.now, operation, context.now + protection.approval_hours * HOUR)
    targets.change(context.tx, context.now, target, wanted=before)
    context.note(
        f"{operation.kind}.waiting", serve=operation.serve, env=operation.env, operation=operation.id,
        after={"revision": operation.revision}, message="until another person approves it",
    )  # fmt: skip
    return operations.get(context.tx, operation.id)


def withdraw(context: ChangeContext, operation: Operation, target: ServeTarget) -> None:
    """Nothing stays of a change that was not approved: the infrastructure is again that of what is deployed."""
    if operation.revision is None or target.wanted is None:
        return
    proposed, deployed = (
        targets.revision(context.tx, target.serve, target.env, number).content.infra
        for number in (operation.revision, target.wanted)
    )
    known = serves.infra(context.tx, target.serve, target.env)
    if known is not None and known.overlay == proposed != deployed:
        serves.set_infra(context.tx, context.now, target.serve, target.env, deployed, known)
