"""The calls of the API: what is sent, and what the reply holds. Whoever sends them may be synchronous or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar, cast
from urllib.parse import quote

from mlflow_kserve.client.replies import (
    AdoptedReply,
    ArtifactJobReply,
    ArtifactReply,
    BegunReply,
    DeliveryReply,
    DeploymentReply,
    DiffReply,
    DryRunReply,
    EnvironmentReply,
    EventsReply,
    InfraChangeReply,
    InfraReply,
    NewTokenReply,
    OperationReply,
    PageReply,
    RevisionReply,
    RolloutReply,
    ServeReply,
    StatusReply,
    TokenReply,
    UnchangedReply,
    WebhookReply,
)

T_co = TypeVar("T_co", covariant=True)
Method = Literal["GET", "POST", "PATCH", "DELETE"]
Fields = Mapping[str, Any]
MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class ApiCall(Generic[T_co]):
    """A request whose reply is a T."""

    method: Method
    path: str
    query: Fields = field(default_factory=dict)
    """A value of None is not sent."""
    body: Fields | None = None
    repeatable: bool = True
    """Whether it may be sent again if the connection breaks: it changes nothing twice."""

    def dry(self) -> ApiCall[DryRunReply]:
        """The same change as a question: what would it do?"""
        return cast("ApiCall[DryRunReply]", replace(self, query={**self.query, "dry_run": "true"}))

    def of_page(self, number: int) -> ApiCall[T_co]:
        return replace(self, query={**self.query, "page": number})


def place(*parts: object) -> str:
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


# -- environments ---------------------------------------------------------------------------------------------------


def list_environments() -> ApiCall[PageReply[EnvironmentReply]]:
    return ApiCall("GET", "/environment")


def get_environment(name: str) -> ApiCall[EnvironmentReply]:
    return ApiCall("GET", place("environment", name))


def create_environment(fields: Fields) -> ApiCall[EnvironmentReply]:
    return ApiCall("POST", "/environment", body=fields)


def change_environment(name: str, fields: Fields) -> ApiCall[EnvironmentReply]:
    return ApiCall("PATCH", place("environment", name), body=fields)


def delete_environment(name: str) -> ApiCall[None]:
    return ApiCall("DELETE", place("environment", name))


def adopt_environment(name: str) -> ApiCall[AdoptedReply]:
    return ApiCall("POST", place("environment", name, "adopt"))


# -- serves and their infrastructure --------------------------------------------------------------------------------


def list_serves(space: str | None = None, name: str | None = None) -> ApiCall[PageReply[ServeReply]]:
    return ApiCall("GET", "/serve", {"space": space, "name": name, "limit": MAX_PAGE})


def get_serve(name: str) -> ApiCall[ServeReply]:
    return ApiCall("GET", place("serve", name))


def create_serve(fields: Fields) -> ApiCall[ServeReply]:
    return ApiCall("POST", "/serve", body=fields)


def change_serve(name: str, fields: Fields) -> ApiCall[ServeReply]:
    return ApiCall("PATCH", place("serve", name), body=fields)


def delete_serve(name: str) -> ApiCall[None]:
    return ApiCall("DELETE", place("serve", name))


def get_infra(serve: str, env: str) -> ApiCall[InfraReply]:
    return ApiCall("GET", place("serve", serve, "infra-config", env))


def create_infra(serve: str, env: str, fields: Fields) -> ApiCall[InfraChangeReply]:
    return ApiCall("POST", place("serve", serve, "infra-config", env), body=fields)


def change_infra(serve: str, env: str, fields: Fields) -> ApiCall[InfraChangeReply]:
    return ApiCall("PATCH", place("serve", serve, "infra-config", env), body=fields)


# -- artifacts ------------------------------------------------------------------------------------------------------


def list_artifacts(serve: str) -> ApiCall[PageReply[ArtifactReply]]:
    return ApiCall("GET", place("artifact", serve), {"limit": MAX_PAGE})


def get_artifact(serve: str, version: str) -> ApiCall[ArtifactReply]:
    return ApiCall("GET", place("artifact", serve, version))


def create_artifact(fields: Fields) -> ApiCall[ArtifactReply | ArtifactJobReply]:
    return ApiCall("POST", "/artifact", body=fields)


def list_artifact_jobs(status: str | None = None) -> ApiCall[PageReply[ArtifactJobReply]]:
    return ApiCall("GET", "/artifact_builder_job", {"status": status, "limit": MAX_PAGE})


def get_artifact_job(id: str, wait: float = 0) -> ApiCall[ArtifactJobReply]:
    return ApiCall("GET", place("artifact_builder_job", id), {"wait": wait or None})


# -- deployments ----------------------------------------------------------------------------------------------------


def deploy_model(fields: Fields) -> ApiCall[BegunReply]:
    return ApiCall("POST", "/serve/deploy-model", body=fields)


def undeploy_model(fields: Fields) -> ApiCall[BegunReply]:
    return ApiCall("POST", "/serve/undeploy-model", body=fields)


def deploy(serve: str, fields: Fields) -> ApiCall[BegunReply]:
    return ApiCall("POST", place("serve", serve, "deploy"), body=fields)


def undeploy(serve: str, env: str) -> ApiCall[BegunReply]:
    return ApiCall("POST", place("serve", serve, "undeploy", env))


def roll_back(serve: str, fields: Fields) -> ApiCall[BegunReply]:
    return ApiCall("POST", place("serve", serve, "rollback"), body=fields)


def apply_spec(fields: Fields) -> ApiCall[BegunReply | UnchangedReply]:
    return ApiCall("POST", "/serve/apply", body=fields)


def export(serve: str, env: str, revision: int | None = None) -> ApiCall[str]:
    """The manifests of a revision, as YAML."""
    return ApiCall("GET", place("serve", serve, "export", env), {"revision": revision})


def adopt(serve: str, env: str) -> ApiCall[BegunReply]:
    return ApiCall("POST", place("serve", serve, "adopt", env))


def take_over(serve: str, env: str) -> ApiCall[BegunReply]:
    return ApiCall("POST", place("serve", serve, "take-over", env))


def get_status(serve: str, env: str, wait: float = 0) -> ApiCall[StatusReply]:
    return ApiCall("GET", place("serve", serve, "status", env), {"wait": wait or None})


def get_logs(serve: str, env: str, revision: int | None = None, lines: int = 100) -> ApiCall[str]:
    return ApiCall("GET", place("serve", serve, "logs", env), {"revision": revision, "lines": lines})


def list_deployments(
    serve: str, env: str | None = None, status: str | None = None
) -> ApiCall[PageReply[DeploymentReply]]:
    return ApiCall("GET", place("serve", serve, "deployments"), {"env": env, "status": status, "limit": MAX_PAGE})


def list_revisions(serve: str, env: str | None = None) -> ApiCall[PageReply[RevisionReply]]:
    return ApiCall("GET", place("serve", serve, "revisions"), {"env": env, "limit": MAX_PAGE})


def get_revision(serve: str, env: str, number: int) -> ApiCall[RevisionReply]:
    return ApiCall("GET", place("serve", serve, "revisions", env, number))


def compare_revisions(serve: str, env: str, number: int, other: int) -> ApiCall[DiffReply]:
    return ApiCall("GET", place("serve", serve, "revisions", env, number, "diff", other))


# -- rollouts -------------------------------------------------------------------------------------------------------


def get_rollout(serve: str, env: str, wait: float = 0) -> ApiCall[RolloutReply]:
    return ApiCall("GET", place("serve", serve, "rollout", env), {"wait": wait or None})


def list_rollouts(serve: str, env: str | None = None) -> ApiCall[PageReply[RolloutReply]]:
    return ApiCall("GET", place("serve", serve, "rollouts"), {"env": env, "limit": MAX_PAGE})


def steer_rollout(
    serve: str, env: str, verb: Literal["pause", "resume", "promote", "abort"], fields: Fields | None = None
) -> ApiCall[RolloutReply]:
    return ApiCall("POST", place("serve", serve, "rollout", env, verb), body=fields)


def retry_rollout(serve: str, env: str) -> ApiCall[BegunReply]:
    return ApiCall("POST", place("serve", serve, "rollout", env, "retry"))


def undo_rollout(serve: str, env: str) -> ApiCall[BegunReply]:
    return ApiCall("POST", place("serve", serve, "rollout", env, "undo"))


# -- operations, events, tokens -------------------------------------------------------------------------------------


def get_operation(id: str, wait: float = 0) -> ApiCall[OperationReply]:
    return ApiCall("GET", place("operation", id), {"wait": wait or None})


def abort_operation(id: str) -> ApiCall[OperationReply]:
    return ApiCall("POST", place("operation", id, "abort"))


def list_operations(
    state: str | None = None, serve: str | None = None, env: str | None = None
) -> ApiCall[PageReply[OperationReply]]:
    return ApiCall("GET", "/operation", {"state": state, "serve": serve, "env": env, "limit": MAX_PAGE})


def approve_operation(id: str, reason: str = "") -> ApiCall[OperationReply]:
    return ApiCall("POST", place("operation", id, "approve"), body={"reason": reason})


def reject_operation(id: str, reason: str = "") -> ApiCall[OperationReply]:
    return ApiCall("POST", place("operation", id, "reject"), body={"reason": reason})


def list_events(
    serve: str | None = None, env: str | None = None, after: int = 0, limit: int = 100
) -> ApiCall[EventsReply]:
    return ApiCall("GET", "/event", {"serve": serve, "env": env, "after": after, "limit": limit})


def list_tokens() -> ApiCall[PageReply[TokenReply]]:
    return ApiCall("GET", "/token")


def create_token(fields: Fields) -> ApiCall[NewTokenReply]:
    return ApiCall("POST", "/token", body=fields, repeatable=False)


def rotate_token(name: str) -> ApiCall[NewTokenReply]:
    return ApiCall("POST", place("token", name, "rotate"), repeatable=False)


def delete_token(name: str) -> ApiCall[None]:
    return ApiCall("DELETE", place("token", name))


# -- webhooks -------------------------------------------------------------------------------------------------------


def list_webhooks() -> ApiCall[PageReply[WebhookReply]]:
    return ApiCall("GET", "/webhook")


def get_webhook(name: str) -> ApiCall[WebhookReply]:
    return ApiCall("GET", place("webhook", name))


def create_webhook(fields: Fields) -> ApiCall[WebhookReply]:
    return ApiCall("POST", "/webhook", body=fields)


def change_webhook(name: str, fields: Fields) -> ApiCall[WebhookReply]:
    return ApiCall("PATCH", place("webhook", name), body=fields)


def delete_webhook(name: str) -> ApiCall[None]:
    return ApiCall("DELETE", place("webhook", name))


def list_deliveries(webhook: str, state: str | None = None) -> ApiCall[PageReply[DeliveryReply]]:
    return ApiCall("GET", place("webhook", webhook, "delivery"), {"state": state, "limit": MAX_PAGE})


def repeat_delivery(webhook: str, id: int) -> ApiCall[DeliveryReply]:
    return ApiCall("POST", place("webhook", webhook, "delivery", id, "repeat"))
