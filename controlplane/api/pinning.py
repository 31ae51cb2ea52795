"""`follow: off`: what a moving model URI names is settled once, before the change begins."""

from __future__ import annotations

import os

from fastapi import Request

from controlplane.api.control import control_of
from controlplane.backends.registry import NotResolved, moves, pin
from controlplane.changes.deploy import deployment_before
from controlplane.domain.deployments import Follow
from controlplane.domain.problems import wrong_field
from controlplane.store import environments


def pinned(request: Request, serve: str, env: str, uri: str, follow: Follow | None) -> str | None:
    """The URI of one version, where the serve follows none; None if it is to be served as it is said.

    The registry is asked outside of any transaction: others need not wait for it.
    """
    if not moves(uri):
        return None
    with control_of(request).store.reading() as tx:
        environment = environments.get(tx, env)
        follow = follow or deployment_before(tx, serve, env).follow
    if follow != "off":
        return None
    try:
        return pin(uri, environment.config.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", ""))
    except NotResolved as error:
        raise wrong_field("model_uri", f"cannot be resolved to a version: {error}") from None
