"""The second person: a change that waits is approved as it was stored, rejected, or expires."""

from __future__ import annotations

from controlplane.backends.backend import Key
from controlplane.changes.context import ChangeContext
from controlplane.changes.deploy import CHANGE_SECONDS, end_early, hold_to_quotas
from controlplane.domain.problems import ApiProblem, conflict
from controlplane.store import environments, operations, targets
from controlplane.store.operations import Operation
from controlplane.store.targets import Revision, ServeTarget


def approve(context: ChangeContext, operation: Operation, reason: str) -> Operation:
    """Begins a change that waits, with the revision that was shown."""
    refuse_ended(operation, context.now)
    if context.actor.name == operation.author:
        raise ApiProblem(
            403, f"{operation.author} has begun this change, and another person must approve it",
            way_out="ask an approver of this environment",
        )  # fmt: skip
    target, revision = waiting(context, operation)
    if revision is not None:
        hold_to_quotas(context, environments.get(context.tx, operation.env), target, revision.content)
    operations.release(context.tx, context.now, operation, context.now + CHANGE_SECONDS)
    targets.change(
        context.tx, context.now, target, wanted=operation.revision, last_error=None, last_error_at=None
    )  # fmt: skip
    context.note(
        "approve", serve=operation.serve, env=operation.env, operation=operation.id, message=reason,
        after={"revision": operation.revision, "sha256": revision.sha256 if revision else None},
    )  # fmt: skip
    context.dirty.append(Key(operation.env, operation.serve))
    return operations.get(context.tx, operation.id)


def reject(context: ChangeContext, operation: Operation, reason: str) -> Operation:
    """Ends a change that waits."""
    refuse_ended(operation, context.now)
    said = f": {reason}" if reason else ""
    return ended(context, operation, "reject", f"rejected by {context.actor.name}{said}")


def expire(context: ChangeContext, operation: Operation) -> Operation:
    """Ends a change that nobody has approved in time."""
    return ended(context, operation, "expire", "nobody has approved it in time")


def ended(context: ChangeContext, operation: Operation, action: str, message: str) -> Operation:
    target, _ = waiting(context, operation)
    return end_early(context, operation, target, action, message)


def refuse_ended(operation: Operation, now: float) -> None:
    """Raises ApiProblem (409) unless the change waits."""
    if operation.state != "WAITING":
        raise conflict(f"operation {operation.id} does not wait: {operation.state}", "there is nothing to decide")
    if now >= operation.deadline:
        raise conflict(f"operation {operation.id} has expired", "begin the change again")


def waiting(context: ChangeContext, operation: Operation) -> tuple[ServeTarget, Revision | None]:
    """The target of a change that waits, and the revision that it would bring."""
    target = targets.find(context.tx, operation.serve, operation.env)
    if target is None or target.operation != operation.id:
        raise conflict(f"operation {operation.id} has ended: {operation.state}", "there is nothing to decide")
    if operation.revision is None:
        return target, None
    return target, targets.revision(context.tx, operation.serve, operation.env, operation.revision)
