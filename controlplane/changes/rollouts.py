"""What a person does to a rollout: pause, resume, promote, abort, retry, undo."""

from __future__ import annotations

from controlplane.backends.backend import Key
from controlplane.changes.context import ChangeContext
from controlplane.changes.deploy import (
    CHANGE_SECONDS,
    Begun,
    abort,
    begin_rollout,
    refuse_lost_model,
    refuse_second,
    restore_infra,
)
from controlplane.changes.protection import held, refuse_others
from controlplane.domain.problems import conflict
from controlplane.domain.revisions import changes
from controlplane.store import environments, operations, rollouts, serves, targets
from controlplane.store.operations import Kind
from controlplane.store.rollouts import StoredRollout
from controlplane.store.targets import ServeTarget


def under_way(context: ChangeContext, serve: str, env: str) -> StoredRollout:
    """The rollout that is under way. Raises ApiProblem (409) if there is none."""
    target = known_target(context, serve, env)
    rollout = rollouts.find(context.tx, target.operation) if target.operation else None
    if rollout is None or operations.get(context.tx, rollout.operation).state != "RUNNING":
        raise conflict(
            f"no rollout of {serve} is under way in {env}",
            "a deployment with the strategy canary, linear or blue-green begins one",
        )
    return rollout


def known_target(context: ChangeContext, serve: str, env: str) -> ServeTarget:
    environments.get(context.tx, env)
    serves.get(context.tx, serve)
    target = targets.find(context.tx, serve, env)
    if target is None or target.last_revision == 0:
        raise conflict(f"{serve} was never deployed in {env}", "POST /api/v1/serve/deploy-model deploys it")
    return target


def pause(context: ChangeContext, serve: str, env: str) -> StoredRollout:
    """The traffic stays as it is until somebody resumes, promotes or aborts the rollout."""
    rollout = under_way(context, serve, env)
    if rollout.paused_at is not None:
        return rollout
    changed = rollouts.change(
        context.tx, context.now, rollout,
        paused_at=context.now, paused_by=context.actor.name, pause_reason="",
    )  # fmt: skip
    noted(context, changed, "rollout.pause")
    return changed


def resume(context: ChangeContext, serve: str, env: str) -> StoredRollout:
    """The step goes on where it was, with its whole time before its deadline."""
    rollout = under_way(context, serve, env)
    if rollout.paused_at is None:
        return rollout
    refuse_others(context, environments.get(context.tx, env))
    changed = rollouts.change(context.tx, context.now, rollout, **resumed(rollout, context.now))
    seconds = CHANGE_SECONDS if rollout.step_at is None else rollout.plan.steps[rollout.step].deadline
    operations.set_deadline(context.tx, context.now, rollout.operation, context.now + seconds)
    noted(context, changed, "rollout.resume")
    return changed


def resumed(rollout: StoredRollout, now: float) -> dict[str, float | str | None]:
    """The fields of a rollout that goes on; the time of its step did not pass meanwhile."""
    step_at = rollout.step_at
    if step_at is not None and rollout.paused_at is not None:
        step_at += now - rollout.paused_at
    return {"paused_at": None, "paused_by": "", "step_at": step_at}


def promote(context: ChangeContext, serve: str, env: str, full: bool = False) -> StoredRollout:
    """Ends the current step, or all of them, whatever is known of the revision."""
    rollout = under_way(context, serve, env)
    refuse_others(context, environments.get(context.tx, env))
    last = len(rollout.plan.steps)
    step = last if full else min(rollout.step + 1, last)
    rollouts.end_step(context.tx, context.now, rollout, "SKIPPED", f"by {context.actor.name}")
    fields = {**resumed(rollout, context.now), "step": step, "step_at": None, "verdict": "inconclusive"}
    changed = rollouts.change(context.tx, context.now, rollout, **fields)
    operations.set_deadline(context.tx, context.now, rollout.operation, context.now + CHANGE_SECONDS)
    noted(context, changed, "rollout.promote")
    return changed


def abort_rollout(context: ChangeContext, serve: str, env: str) -> StoredRollout:
    """All requests go back to the revision before."""
    rollout = under_way(context, serve, env)
    abort(context, operations.get(context.tx, rollout.operation))
    return rollout


def retry(context: ChangeContext, serve: str, env: str) -> Begun:
    """The revision that has failed last, from its first step again."""
    target = known_target(context, serve, env)
    refuse_second(context, target)
    last = operations.newest(context.tx, serve, env)
    if last is None or last.revision is None or last.state not in ("FAILED", "ABORTED"):
        raise conflict(
            f"the last change of {serve} in {env} has not failed", "POST /api/v1/serve/deploy-model deploys a model"
        )
    return again(context, target, "retry", last.revision)


def undo(context: ChangeContext, serve: str, env: str) -> Begun:
    """The revision that was active before, at once."""
    target = known_target(context, serve, env)
    refuse_second(context, target)
    before = targets.ended_last(context.tx, serve, env)
    if target.active is None or before is None:
        raise conflict(
            f"nothing was active in {env} before what {serve} serves now",
            f"GET /api/v1/serve/{serve}/revisions?env={env} lists its revisions; POST …/rollback goes back to any",
        )
    restore_infra(context, serve, env, targets.revision(context.tx, serve, env, before))
    return again(context, target, "undo", before)


def again(context: ChangeContext, target: ServeTarget, kind: Kind, number: int) -> Begun:
    """A revision that there is already becomes wanted once more."""
    revision = targets.revision(context.tx, target.serve, target.env, number)
    refuse_lost_model(revision)
    environment = environments.get(context.tx, target.env)
    refuse_others(context, environment)
    before = target.wanted and targets.revision(context.tx, target.serve, target.env, target.wanted).content
    operation = operations.add(
        context.tx, context.now, kind, target.serve, target.env, number, context.actor.name, CHANGE_SECONDS
    )  # fmt: skip
    targets.set_deployment(context.tx, context.now, target, number, "PENDING", operation=operation.id)
    if kind == "retry":
        begin_rollout(context, target, operation, revision.content)
    targets.change(
        context.tx, context.now, target,
        wanted=number, operation=operation.id, last_error=None, last_error_at=None,
    )  # fmt: skip
    context.note(
        kind, serve=target.serve, env=target.env, operation=operation.id,
        before={"revision": target.wanted}, after={"revision": number, "sha256": revision.sha256},
    )  # fmt: skip
    context.dirty.append(Key(target.env, target.serve))
    context.revisions.append(revision)
    if kind == "retry":  # the way back needs nobody
        operation = held(context, environment, operation, target.wanted, None)
    return Begun(operation, revision, changes(before or None, revision.content))


def noted(context: ChangeContext, rollout: StoredRollout, action: str) -> None:
    """Adds the event, and wakes the loops."""
    context.note(
        action, serve=rollout.serve, env=rollout.env, operation=rollout.operation,
        after={"revision": rollout.revision, "step": rollout.step},
    )  # fmt: skip
    context.dirty.append(Key(rollout.env, rollout.serve))
