"""Asks MLflow's registry which version a moving model URI names."""

from __future__ import annotations

import os
import re
from typing import Any

import httpx

ALIAS = re.compile(r"models:/+(?P<name>[^/@]+)@(?P<alias>[^/]+)")
STAGE = re.compile(r"models:/+(?P<name>[^/@]+)/(?P<stage>[^/]*[^/0-9][^/]*)")
SECONDS = 5.0
API = "/api/2.0/mlflow/registered-models"


class NotResolved(Exception):
    """The registry does not say which version it is; the message is one line."""


class RegistryAway(NotResolved):
    """Nor would it say of another model now."""


def moves(uri: str) -> bool:
    """Whether a URI may name another version tomorrow."""
    return bool(ALIAS.fullmatch(uri) or (STAGE.fullmatch(uri) and not uri.startswith("models:/m-")))


def pin(uri: str, tracking_uri: str) -> str:
    """The URI of the version that a moving URI names now. Raises NotResolved."""
    tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not tracking_uri.startswith(("http://", "https://")):
        raise NotResolved("no tracking server is known: set tracking_uri of the environment, or MLFLOW_TRACKING_URI")
    alias, stage = ALIAS.fullmatch(uri), STAGE.fullmatch(uri)
    try:
        with httpx.Client(base_url=tracking_uri.rstrip("/"), timeout=SECONDS, headers=token(), auth=login()) as client:
            if alias:
                query = {"name": alias["name"], "alias": alias["alias"]}
                version = answer(client.get(f"{API}/alias", params=query))["model_version"]["version"]
                return f"models:/{alias['name']}/{version}"
            assert stage is not None  # noqa: S101 - only URIs that move are asked for
            body = {"name": stage["name"]} | ({} if stage["stage"] == "latest" else {"stages": [stage["stage"]]})
            versions = answer(client.post(f"{API}/get-latest-versions", json=body)).get("model_versions", [])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise RegistryAway(f"the registry does not answer: {type(error).__name__}") from None
    if not versions:
        raise NotResolved(f"the registry has no version of {stage['name']} in {stage['stage']}")
    return f"models:/{stage['name']}/{max(int(version['version']) for version in versions)}"


def answer(response: httpx.Response) -> Any:
    if response.status_code >= 400:
        body = response.json() if "json" in response.headers.get("content-type", "") else {}
        raise NotResolved(str(body.get("message") or f"the registry answers {response.status_code}")[:300])
    return dict(response.json())


def token() -> dict[str, str]:
    known = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"authorization": f"Bearer {known}"} if known else {}


def login() -> tuple[str, str] | None:
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    return (user, password) if user and password else None
