"""An event as it is posted: CloudEvents 1.0 in JSON, signed as Standard Webhooks says, or Slack's text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from controlplane.domain.webhooks import WebhookConfig

TYPE = "mlflow-kserve"
KEY_PREFIX = "whsec_"
MAX_TEXT = 3000
"""Characters of a text for Slack, which cuts longer ones."""


def notification(event: Mapping[str, Any], config: WebhookConfig) -> tuple[bytes, str]:
    """The body and its content type; `event` is an event as the API shows it."""
    if config.format == "slack":
        return json.dumps({"text": slack_text(event)}).encode(), "application/json"
    return json.dumps(cloud_event(event, config.source)).encode(), "application/cloudevents+json"


def cloud_event(event: Mapping[str, Any], source: str) -> dict[str, Any]:
    subject = subject_of(event)
    return {
        "specversion": "1.0",
        "id": str(event["id"]),
        "source": source,
        "type": f"{TYPE}.{event['action']}",
        **({"subject": subject} if subject else {}),
        "time": event["at"],
        "datacontenttype": "application/json",
        "data": dict(event),
    }


def subject_of(event: Mapping[str, Any]) -> str:
    """What an event is about: `env/serve`, or the one of the two that it names. Events of one subject stay in order."""
    return "/".join(event[name] for name in ("env", "serve") if event[name])


def slack_text(event: Mapping[str, Any]) -> str:
    verb, _, end = event["action"].partition(".")
    place = f" in *{event['env']}*" if event["env"] else ""
    about = f"*{event['serve']}*{place}: " if event["serve"] else f"*{event['env']}*: " if event["env"] else ""
    message = f" — {escaped(event['message'])}" if event["message"] else ""
    return f"{about}{verb} {end}".rstrip() + f" (by {escaped(event['actor'])}){message}"[:MAX_TEXT]


def escaped(text: str) -> str:
    """What people say stays text: no link, and nobody is called."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. A secret that begins with whsec_ is the key in base64; others are text."""
    key = secret.encode()
    if secret.startswith(KEY_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(KEY_PREFIX), validate=True)
        except binascii.Error:
            pass  # a text that only begins so
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
