"""Rows and states as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from controlplane.changes.deploy import Begun
from controlplane.decide import FieldConflict, Instance, Observed, ReplicaCount
from controlplane.domain.infra import in_words
from controlplane.domain.revisions import in_sentences
from controlplane.domain.rollouts import PlannedStep
from controlplane.domain.times import iso
from controlplane.drift import DriftReading
from controlplane.store import events
from controlplane.store.artifact_jobs import ArtifactJob
from controlplane.store.artifacts import Artifact
from controlplane.store.deliveries import Delivery, DeliveryBacklog
from controlplane.store.environments import Environment
from controlplane.store.operations import Operation
from controlplane.store.rollouts import KeptLook, RolloutStep, StoredRollout
from controlplane.store.serves import Infra, Serve
from controlplane.store.targets import Deployment, Revision, ServeTarget
from controlplane.store.tokens import StoredToken
from controlplane.store.webhooks import StoredWebhook


def when(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)


def page(items: Sequence[Any], total: int, number: int, limit: int) -> dict[str, Any]:
    return {"items": list(items), "page": number, "limit": limit, "total": total}


def environment(row: Environment) -> dict[str, Any]:
    return {
        "name": row.name,
        "environment_configs": row.config.model_dump(mode="json"),
        "generation": row.generation,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def serve(row: Serve, environments: Sequence[str]) -> dict[str, Any]:
    """A serve, with the environments that it is deployed in."""
    return {
        "name": row.name,
        "type": row.type,
        "description": row.description,
        "space": row.space,
        "environments": list(environments),
        "generation": row.generation,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def infra(row: Infra) -> dict[str, Any]:
    return {
        "serve": row.serve,
        "env": row.env,
        "api_serve_infra_config": in_words(row.overlay),
        "spec": row.overlay,
        "generation": row.generation,
        "updated_at": when(row.updated_at),
    }


def artifact(row: Artifact) -> dict[str, Any]:
    return {
        "serve_name": row.serve,
        "version": row.version,
        "model_uri": row.model_uri,
        "author": row.author,
        "created_at": when(row.created_at),
    }


def job(row: ArtifactJob) -> dict[str, Any]:
    return {
        "job_id": row.id,
        "serve_name": row.serve,
        "version": row.version,
        "status": row.state,
        "message": row.message,
        "commit": row.revision or None,
        **row.source,
        "author": row.author,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def operation(row: Operation) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "serve": row.serve,
        "env": row.env,
        "revision": row.revision,
        "state": row.state,
        "message": row.message,
        "author": row.author,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
        "deadline": when(row.deadline),
    }


def begun(change: Begun) -> dict[str, Any]:
    """The reply to a change that goes on: what to follow, and what it changes."""
    return {
        "operation": operation(change.operation),
        "serve": change.operation.serve,
        "env": change.operation.env,
        "revision": change.operation.revision,
        "artifact_version": change.revision.content.artifact_version if change.revision else None,
        "changes": in_sentences(change.changes),
    }


def revision(row: Revision) -> dict[str, Any]:
    return {
        "serve": row.serve,
        "env": row.env,
        "revision": row.number,
        "sha256": row.sha256,
        "restores": row.restores,
        "author": row.author,
        "reason": row.reason,
        "created_at": when(row.created_at),
        "content": row.content.as_json(),
        "spec": row.content.spec(row.serve),
    }


def deployment(row: Deployment) -> dict[str, Any]:
    return {
        "serve": row.serve,
        "env": row.env,
        "revision": row.revision,
        "artifact_version": row.artifact_version,
        "status": row.status,
        "message": row.message,
        "operation": row.operation,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def rollout(row: StoredRollout, current: Operation, steps: Sequence[RolloutStep]) -> dict[str, Any]:
    """How far a rollout is; steps that have not begun are those of its plan."""
    begun = {each.number: each for each in steps}
    under_way = current.state == "RUNNING"
    return {
        "serve": row.serve,
        "env": row.env,
        "operation": row.operation,
        "revision": row.revision,
        "baseline": row.baseline,
        "strategy": row.plan.strategy,
        "state": "PAUSED" if under_way and row.paused_at is not None else current.state,
        "message": current.message,
        "step": row.step + 1 if under_way and row.step < len(row.plan.steps) else None,
        "steps": [rollout_step(each, number, begun.get(number)) for number, each in enumerate(row.plan.steps)],
        "verdict": row.verdict if row.looked_at is not None else None,
        "verdict_reason": row.verdict_reason or None,
        "looked_at": when(row.looked_at),
        "paused_at": when(row.paused_at),
        "paused_by": row.paused_by or None,
        "pause_reason": (row.pause_reason or None) if row.paused_at is not None else None,
        "deadline": when(current.deadline) if under_way and row.paused_at is None else None,
        "keep_until": when(row.keep_until),
        "author": current.author,
        "created_at": when(row.created_at),
        "updated_at": when(max(row.updated_at, current.updated_at)),
    }


def look(row: KeptLook) -> dict[str, Any]:
    return {"number": row.number, "step": row.step + 1, "at": when(row.at), **row.look.plain()}


def rollout_step(step: PlannedStep, number: int, begun: RolloutStep | None) -> dict[str, Any]:
    return {
        "number": number + 1,
        "weight": step.weight,
        "interval": step.interval,
        "progress_deadline_seconds": step.deadline,
        "judged": step.judged,
        "state": begun.outcome if begun else "PENDING",
        "reason": begun.reason if begun else "",
        "begun_at": when(begun.begun_at) if begun else None,
        "ended_at": when(begun.ended_at) if begun else None,
    }


event = events.as_json


def webhook(row: StoredWebhook, backlog: DeliveryBacklog) -> dict[str, Any]:
    return {
        "name": row.name,
        **row.config.model_dump(mode="json"),
        "pending": backlog.pending,
        "given_up": backlog.given_up,
        "oldest_pending_at": when(backlog.oldest_at),
        "last_error": backlog.last_error,
        "generation": row.generation,
        "author": row.author,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "webhook": row.webhook,
        "event": row.event,
        "subject": row.subject,
        "state": row.state,
        "attempts": row.attempts,
        "message": row.message,
        "due_at": when(row.due_at) if row.state == "PENDING" else None,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
    }


def token(row: StoredToken) -> dict[str, Any]:
    """Without its digest."""
    return {
        "name": row.name,
        "roles": row.roles,
        "author": row.author,
        "created_at": when(row.created_at),
        "expires_at": when(row.expires_at),
    }


def instance(each: Instance, observed: Observed) -> dict[str, Any]:
    return {
        "revision": each.revision,
        "phase": each.phase,
        "serving": observed.serving == each.revision,
        "weight": observed.weights.get(each.revision, 0),
        "starts": each.starts,
        "since": when(each.since),
        "message": each.message,
        **each.details,
    }


def replica_count(target: ServeTarget, observed: Observed | None) -> ReplicaCount:
    """Of a back end whose instances are processes: one process is one replica."""
    if observed is not None and observed.replicas is not None:
        return observed.replicas
    serving = observed.instance(observed.serving) if observed else None
    ready = serving is not None and serving.phase == "ready"
    return ReplicaCount(0 if target.wanted is None else 1, 1 if ready else 0)


def pods(observed: Observed) -> list[Any]:
    if observed.pods is not None:
        return list(observed.pods)
    return [instance(each, observed) for each in observed.instances]


def conflict(each: FieldConflict) -> dict[str, Any]:
    """A field that others have changed; adopt and take-over are the ways out."""
    return {
        "resource": each.resource,
        "field": each.field,
        "manager": each.manager,
        "theirs": each.theirs,
        "ours": each.ours,
    }


State = Literal["READY", "NOT_READY", "IDLE", "STOPPED", "UNKNOWN"]


def state(target: ServeTarget, observed: Observed | None) -> State:
    """The state of a serve in an environment in one word."""
    if observed is None:
        return "UNKNOWN"
    if replica_count(target, observed).ready > 0:
        return "READY"
    serving = observed.instance(observed.serving)
    if serving is not None and serving.phase == "ready":
        return "IDLE"  # scaled to zero
    return "STOPPED" if target.wanted is None and not observed.instances else "NOT_READY"


def status(
    target: ServeTarget, current: Operation | None, revision: Revision | None, observed: Observed | None
) -> dict[str, Any]:
    """The state of a serve in an environment; `observed` is None if nothing is known of it."""
    serving = observed.instance(observed.serving) if observed else None
    return {
        "serve": target.serve,
        "env": target.env,
        "status": state(target, observed),
        "url": observed.url if observed and target.wanted is not None else None,
        "desired_revision": target.wanted,
        "active_revision": target.active,
        "revision": observed.serving if observed else None,
        "artifact_version": revision.content.artifact_version if revision else None,
        "model_uri": revision.content.model_uri if revision else None,
        "replicas": asdict(replica_count(target, observed)),
        "pods": pods(observed) if observed else None,
        "conflicts": [conflict(each) for each in observed.conflicts] if observed else [],
        "others": dict(observed.others) if observed else {},
        "operation": operation(current) if current else None,
        "last_error": target.last_error,
        "last_error_at": when(target.last_error_at),
        "since": when(serving.since) if serving else when(target.updated_at),
    }


def drift(serve: str, env: str, revision: int, read: DriftReading) -> dict[str, Any]:
    columns = [
        {
            "kind": each.kind,
            "name": each.name,
            "model_version": each.version,
            "psi": each.psi,
            "missing_ratio": each.missing,
            "state": each.state,
        }
        for each in read.columns
    ]
    return {"serve": serve, "env": env, "revision": revision, "pods": read.pods, "answered": read.answered,
            "rows": read.rows, "columns": columns}  # fmt: skip
