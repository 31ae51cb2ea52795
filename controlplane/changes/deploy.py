"""Changes of what is deployed: each becomes a revision and an operation, in the transaction that wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from controlplane.backends.backend import Key
from controlplane.changes.context import ChangeContext
from controlplane.changes.protection import held, refuse_others, withdraw
from controlplane.changes.serves import ensured_artifact
from controlplane.domain.artifacts import KnownModel, folder_of
from controlplane.domain.bodies import read
from controlplane.domain.deployments import WRAPPER, Deploy, DeploymentConfig, DeployModel, RollBack
from controlplane.domain.environments import Quotas
from controlplane.domain.infra import WRAPPERS, InfraConfig, patched
from controlplane.domain.overlays import merged
from controlplane.domain.problems import ApiProblem, conflict, unprocessable
from controlplane.domain.quotas import exceeded, share_of
from controlplane.domain.revisions import Content, changes
from controlplane.domain.serves import NewServe
from controlplane.store import artifact_jobs, artifacts, environments, operations, rollouts, serves, targets
from controlplane.store.artifacts import Artifact
from controlplane.store.environments import Environment
from controlplane.store.operations import Kind, Operation
from controlplane.store.serves import Infra
from controlplane.store.targets import Revision, ServeTarget

CHANGE_SECONDS = 600.0
"""How long a change may take until it fails; each step of a rollout has a time of its own."""
BY_STEPS = ("deploy", "redeploy", "retry")
"""Kinds of changes that follow the strategy; the others go back to what is known, at once."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A change that has begun: what follows it, and what it changes."""

    operation: Operation
    revision: Revision | None
    changes: list[dict[str, Any]]


def deploy(context: ChangeContext, serve: str, body: Any, model: KnownModel | None = None) -> Begun:
    """Deploys an artifact with the infrastructure of the environment; `model` is what is known of what it names."""
    said = read(body, Deploy, [WRAPPER])
    environment = environments.get(context.tx, said.env)
    serves.get(context.tx, serve)
    job = artifact_jobs.of_version(context.tx, serve, said.artifact_version)
    if job is not None and job.state != "SUCCESSFUL":
        raise conflict(
            f"artifact {serve} {job.version} is not there: its job is {job.state} {job.message}".rstrip(),
            f"GET /api/v1/artifact_builder_job/{job.id} shows how far it is; the same POST repeats one that failed",
            job=job.id,
        )
    artifact = artifacts.get(context.tx, serve, said.artifact_version)
    known = serves.infra(context.tx, serve, said.env)
    model = model or KnownModel(artifact.model_uri)
    content = Content(
        artifact_version=artifact.version,
        model_uri=model.uri,
        infra=known.overlay if known else {},
        deployment=said.config(),
        environment=environment.config,
        flavor=model.flavor,
        model_size=model.size,
    )
    return begin(context, "deploy", serve, environment, content, said.reason)


def deploy_model(context: ChangeContext, body: Any, model: KnownModel | None = None) -> Begun:
    """Deploys a model in one step; makes what is new of serve and artifact."""
    said = read(body, DeployModel)
    environment = environments.get(context.tx, said.env)
    serve = said.serve_name
    if serves.find(context.tx, serve) is None:
        serves.add(context.tx, context.now, NewServe(name=serve, description="deployed with deploy-model"))
        context.note("serve.create", serve=serve, after={"name": serve})
    known = serves.infra(context.tx, serve, said.env)
    # What an earlier deployment or a PATCH said stays, unless the body says otherwise.
    overlay = patched(known.overlay, said.named_overlay()) if known else patched({}, said.overlay())
    if known is None or known.overlay != overlay:
        serves.set_infra(context.tx, context.now, serve, said.env, overlay, known)
    artifact = artifact_of(context, serve, said.model_uri, said.artifact_version)
    deployment = said.deployment(deployment_before(context.tx, serve, said.env))
    model = model or KnownModel(artifact.model_uri)
    content = Content(
        artifact_version=artifact.version,
        model_uri=model.uri,
        infra=overlay,
        deployment=deployment,
        environment=environment.config,
        flavor=model.flavor,
        model_size=model.size,
    )
    return begin(context, "deploy", serve, environment, content, said.reason)


def artifact_of(context: ChangeContext, serve: str, uri: str, version: str | None) -> Artifact:
    """The version that was said, or that of the newest artifact if it has the same model, or the next one."""
    newest = artifacts.newest(context.tx, serve)
    if version is None and newest is not None and newest.model_uri == uri:
        version = newest.version
    return ensured_artifact(context, serve, version or artifacts.next_version(context.tx, serve), uri)


def deployment_before(tx: Connection, serve: str, env: str) -> DeploymentConfig:
    """How the wanted revision is rolled out, with its variables."""
    target = targets.find(tx, serve, env)
    if target is None or target.wanted is None:
        return DeploymentConfig()
    return targets.revision(tx, serve, env, target.wanted).content.deployment


def set_infra(context: ChangeContext, serve: str, env: str, body: Any, old: Infra | None) -> tuple[Infra, Begun | None]:
    """Changes what the body names; what is deployed is deployed again with it, as a revision."""
    patch = read(body, InfraConfig, WRAPPERS).overlay()
    environment = environments.get(context.tx, env)
    overlay = patched(old.overlay if old else {}, patch)
    if old is not None and overlay == old.overlay:
        return old, None
    infra = serves.set_infra(context.tx, context.now, serve, env, overlay, old)
    context.note("infra.change", serve=serve, env=env, before=old.overlay if old else None, after=overlay)
    target = targets.find(context.tx, serve, env)
    if target is None or target.wanted is None:
        return infra, None
    deployed = targets.revision(context.tx, serve, env, target.wanted)
    content = deployed.content.model_copy(update={"infra": overlay})
    return infra, begin(context, "redeploy", serve, environment, content, "infra-config changed")


def roll_back(context: ChangeContext, serve: str, body: Any) -> Begun:
    """A new revision with the content of an earlier one, applied whole."""
    said = read(body, RollBack)
    environment = environments.get(context.tx, said.env)
    old = targets.revision(context.tx, serve, said.env, said.revision)
    refuse_lost_model(old)
    restore_infra(context, serve, said.env, old)
    reason = said.reason or f"rollback to revision {old.number}"
    return begin(context, "rollback", serve, environment, old.content, reason, restores=old.number)


def refuse_lost_model(old: Revision) -> None:
    """Raises ApiProblem (409) if the folder of the model is gone."""
    folder = folder_of(old.content.model_uri)
    if folder is not None and not folder.is_dir():
        raise conflict(
            f"revision {old.number} serves {old.content.model_uri}, which is no longer there",
            "restore the folder, or choose a revision whose model still exists",
        )


def restore_infra(context: ChangeContext, serve: str, env: str, old: Revision) -> None:
    """The infrastructure of an earlier revision is that of the serve again."""
    known = serves.infra(context.tx, serve, env)
    if known is None or known.overlay != old.content.infra:
        serves.set_infra(context.tx, context.now, serve, env, old.content.infra, known)


def undeploy(context: ChangeContext, serve: str, env: str) -> Begun:
    """Ends a serve in an environment; its revisions stay."""
    environment = environments.get(context.tx, env)
    serves.get(context.tx, serve)
    target = targets.find(context.tx, serve, env)
    if target is None or (target.wanted is None and target.operation is None):
        raise conflict(f"{serve} is not deployed in {env}", "there is nothing to undeploy")
    refuse_others(context, environment)
    refuse_second(context, target)
    operation = operations.add(
        context.tx, context.now, "undeploy", serve, env, None, context.actor.name, CHANGE_SECONDS
    )  # fmt: skip
    targets.change(context.tx, context.now, target, wanted=None, operation=operation.id)
    context.note("undeploy", serve=serve, env=env, operation=operation.id, before={"revision": target.wanted})
    context.dirty.append(Key(env, serve))
    return Begun(held(context, environment, operation, target.wanted, None), None, [])


def abort(context: ChangeContext, operation: Operation) -> Operation:
    """Ends a change under way: what was active before is wanted again."""
    target = targets.find(context.tx, operation.serve, operation.env)
    if target is None or target.operation != operation.id:
        raise conflict(f"operation {operation.id} has ended: {operation.state}", "there is nothing to abort")
    return end_early(context, operation, target, "abort", f"aborted by {context.actor.name}")


def end_early(
    context: ChangeContext, operation: Operation, target: ServeTarget, action: str, message: str
) -> Operation:  # fmt: skip
    """Ends a change that has not ended by itself; `action` is what the event calls it."""
    if operation.state == "WAITING":
        withdraw(context, operation, target)
    operations.end(context.tx, context.now, operation, "ABORTED", message)
    if (rollout := rollouts.find(context.tx, operation.id)) is not None:
        rollouts.end_step(context.tx, context.now, rollout, "ABORTED", message)
    if operation.revision is not None:
        targets.set_deployment(context.tx, context.now, target, operation.revision, "ABORTED", message)
    targets.change(context.tx, context.now, target, wanted=target.active, operation=None)
    context.note(action, serve=target.serve, env=target.env, operation=operation.id, message=message)
    context.dirty.append(Key(target.env, target.serve))
    return operations.get(context.tx, operation.id)


def begin(
    context: ChangeContext,
    kind: Kind,
    serve: str,
    environment: Environment,
    content: Content,
    reason: str,
    restores: int | None = None,
) -> Begun:
    """Stores what is wanted: a revision, an operation and a deployment. The loops do the rest."""
    refuse_others(context, environment)
    target = targets.ensured(context.tx, context.now, serve, environment.name)
    refuse_second(context, target)
    if problems := context.backend_of(content.environment).problems(serve, content):
        raise unprocessable(problems)
    hold_to_quotas(context, environment, target, content)
    before = None if target.wanted is None else targets.revision(context.tx, serve, target.env, target.wanted)
    revision = targets.add_revision(context.tx, context.now, target, content, context.actor.name, reason, restores)
    operation = operations.add(
        context.tx, context.now, kind, serve, target.env, revision.number, context.actor.name, CHANGE_SECONDS
    )  # fmt: skip
    targets.add_deployment(context.tx, context.now, revision, operation.id)
    if kind in BY_STEPS:
        begin_rollout(context, target, operation, content)
    targets.change(
        context.tx, context.now, target,
        wanted=revision.number, last_revision=revision.number, operation=operation.id,
        last_error=None, last_error_at=None,
    )  # fmt: skip
    listed = changes(before.content if before else None, content)
    context.note(
        kind, serve=serve, env=target.env, operation=operation.id, message=reason,
        before={"revision": target.wanted}, after={"revision": revision.number, "sha256": revision.sha256},
    )  # fmt: skip
    context.dirty.append(Key(target.env, serve))
    context.revisions.append(revision)
    return Begun(held(context, environment, operation, target.wanted, restores), revision, listed)


def begin_rollout(context: ChangeContext, target: ServeTarget, operation: Operation, content: Content) -> None:
    """The steps of a change; there are none without a revision to compare with."""
    plan = content.deployment.plan()
    if target.active is not None and plan.steps:
        rollouts.add(context.tx, context.now, operation, target.active, plan)


def refuse_second(context: ChangeContext, target: ServeTarget) -> None:
    """Raises ApiProblem (409) while a change is under way."""
    if target.operation is not None:
        current = operations.get(context.tx, target.operation)
        state = "is being changed" if current.state == "RUNNING" else "has a change that waits for approval"
        raise conflict(
            f"{target.serve} in {target.env} {state}: {current.kind} {current.id}, by {current.author}",
            f"wait for it (GET /api/v1/operation/{current.id}), or end it (POST /api/v1/operation/{current.id}/abort)",
            operation=current.id,
        )


def hold_to_quotas(context: ChangeContext, environment: Environment, target: ServeTarget, content: Content) -> None:
    """Raises ApiProblem (422) if the environment would have more than its quotas allow."""
    if environment.config.quotas == Quotas():
        return
    overlays = targets.wanted_overlays(context.tx, environment.name)
    overlays[target.serve] = merged(content.environment.spec, content.infra)
    if problems := exceeded(environment.config.quotas, map(share_of, overlays.values())):
        raise ApiProblem(
            422,
            f"environment '{environment.name}' has no room: {problems[0].field} {problems[0].reason}",
            way_out="undeploy or shrink another serve, or raise the quotas of the environment",
            fields=problems,
        )
