"""Replies of the API. A newer control plane may send further fields."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypedDict, TypeVar

T = TypeVar("T")


class PageReply(TypedDict, Generic[T]):
    items: list[T]
    page: int
    limit: int
    total: int


class EnvironmentReply(TypedDict):
    name: str
    environment_configs: dict[str, Any]
    generation: int
    created_at: str
    updated_at: str


class ServeReply(TypedDict):
    name: str
    type: str
    description: str
    space: str
    environments: list[str]
    generation: int
    created_at: str
    updated_at: str


class OperationReply(TypedDict):
    id: str
    kind: str
    serve: str
    env: str
    revision: int | None
    state: Literal["WAITING", "RUNNING", "SUCCEEDED", "FAILED", "ABORTED"]
    message: str
    author: str
    created_at: str
    updated_at: str
    deadline: str | None


class BegunReply(TypedDict):
    """A change that goes on."""

    operation: OperationReply
    serve: str
    env: str
    revision: int | None
    artifact_version: str | None
    changes: list[str]


class UnchangedReply(TypedDict):
    """What was applied is there already."""

    operation: None
    serve: str
    env: str
    changes: list[str]


class AdoptedReply(TypedDict):
    serves: list[str]


class InfraReply(TypedDict):
    serve: str
    env: str
    api_serve_infra_config: dict[str, Any]
    spec: dict[str, Any]
    generation: int
    updated_at: str


class InfraChangeReply(InfraReply):
    deployment: BegunReply | None
    """The deployment that follows from it; None if nothing is deployed."""


class ArtifactReply(TypedDict):
    serve_name: str
    version: str
    model_uri: str
    author: str
    created_at: str


class ArtifactJobReply(TypedDict):
    job_id: str
    serve_name: str
    version: str
    status: Literal["PENDING", "RUNNING", "SUCCESSFUL", "FAILED"]
    message: str
    created_at: str
    updated_at: str


class StatusReply(TypedDict):
    serve: str
    env: str
    status: Literal["READY", "IDLE", "NOT_READY", "STOPPED", "UNKNOWN"]
    """IDLE is scaled to zero: it answers once it is asked."""
    url: str | None
    desired_revision: int | None
    active_revision: int | None
    revision: int | None
    artifact_version: str | None
    model_uri: str | None
    replicas: dict[str, int]
    pods: list[dict[str, Any]] | None
    operation: OperationReply | None
    last_error: str | None
    last_error_at: str | None
    since: str


class DeploymentReply(TypedDict):
    serve: str
    env: str
    revision: int
    artifact_version: str
    status: str
    message: str
    operation: str
    created_at: str
    updated_at: str


class RevisionReply(TypedDict):
    serve: str
    env: str
    revision: int
    sha256: str
    restores: int | None
    author: str
    reason: str
    created_at: str
    content: dict[str, Any]
    spec: dict[str, Any]


class RolloutReply(TypedDict):
    """The steps by which a revision gets the requests."""

    serve: str
    env: str
    operation: str
    revision: int
    baseline: int
    strategy: str
    state: Literal["RUNNING", "PAUSED", "SUCCEEDED", "FAILED", "ABORTED"]
    message: str
    step: int | None
    steps: list[dict[str, Any]]
    paused_at: str | None
    paused_by: str | None
    pause_reason: str | None
    deadline: str | None
    keep_until: str | None
    author: str
    created_at: str
    updated_at: str


DiffReply = TypedDict("DiffReply", {"from": int, "to": int, "changes": list[dict[str, Any]], "text": list[str]})


class EventsReply(TypedDict):
    items: list[dict[str, Any]]
    next: int


class TokenReply(TypedDict):
    name: str
    roles: dict[str, str]
    author: str
    created_at: str
    expires_at: str


class NewTokenReply(TokenReply):
    token: str


class WebhookReply(TypedDict):
    name: str
    url: str | dict[str, str]
    format: Literal["cloudevents", "slack"]
    secret: dict[str, str] | None
    env: str | None
    serve: str | None
    actions: list[str]
    pending: int
    given_up: int
    oldest_pending_at: str | None
    last_error: str | None


class DeliveryReply(TypedDict):
    id: int
    webhook: str
    event: int
    subject: str
    state: Literal["PENDING", "DELIVERED", "GIVEN_UP"]
    attempts: int
    message: str
    due_at: str | None
    created_at: str
    updated_at: str


class DryRunReply(TypedDict):
    dry_run: bool
    would: Any
