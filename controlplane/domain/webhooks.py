"""Webhooks: which events go where, and in which form."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from controlplane.domain.bodies import Body, EnvironmentName, ServeName
from controlplane.domain.secrets import SecretReference

Action = Annotated[str, StringConstraints(pattern=r"^[a-z][-.a-z]*$", max_length=32)]
Url = Annotated[str, StringConstraints(max_length=2000)]
ABOUT_WEBHOOKS = "webhook."
"""Actions that are never delivered: what is said of one webhook that fails would end up in another that does."""


class WebhookConfig(Body):
    """What a webhook gets."""

    url: Url | SecretReference
    """where events are posted to: an http(s) URL, or the key of a secret that holds one, as Slack's do"""
    format: Literal["cloudevents", "slack"] = "cloudevents"
    """CloudEvents 1.0 in JSON, or the text that Slack shows"""
    secret: SecretReference | None = None
    """the key that events are signed with (HMAC-SHA256)"""
    source: Annotated[str, Field(min_length=1, max_length=200)] = "mlflow-kserve"
    """source of the CloudEvents: tells several control planes apart"""
    env: EnvironmentName | None = None
    """only events of this environment"""
    serve: ServeName | None = None
    """only events of this serve"""
    actions: Annotated[list[Action], Field(max_length=50)] = []  # noqa: RUF012 - pydantic gives every instance its own
    """only events with one of these actions, or one below it: deploy stands for deploy.succeeded too"""

    @field_validator("url")
    @classmethod
    def usable(cls, url: str | SecretReference) -> str | SecretReference:
        if isinstance(url, str) and (problem := url_problem(url)):
            raise ValueError(problem)
        return url

    @model_validator(mode="after")
    def signed(self) -> WebhookConfig:
        if self.format == "slack" and self.secret is not None:
            raise ValueError("format: slack has no signature: leave secret away")
        return self

    def wants(self, action: str, serve: str | None, env: str | None) -> bool:
        """Whether an event is delivered."""
        if action.startswith(ABOUT_WEBHOOKS) or self.env not in (None, env) or self.serve not in (None, serve):
            return False
        return not self.actions or any(action == each or action.startswith(f"{each}.") for each in self.actions)

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)

    def for_audit(self) -> dict[str, Any]:
        """Without the path of a URL, which may be a secret: more people see events than webhooks."""
        said = self.as_json()
        return said if isinstance(self.url, SecretReference) else {**said, "url": origin(self.url)}


class NewWebhook(WebhookConfig):
    """The body that makes a webhook."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40)]

    def config(self) -> WebhookConfig:
        return WebhookConfig(**self.model_dump(exclude={"name"}))


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def url_problem(url: str) -> str | None:
    """Why nothing can be posted to a URL; it is not repeated, since it may hold a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host:
        return "is no http or https URL"
    if parts.username is not None or parts.password is not None:
        return "holds a password, which is not stored: name the key of a secret that holds the URL"
    return None
