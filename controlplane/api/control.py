"""What the routes share: the store, the loops, the back ends and the guard."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from prometheus_client import CollectorRegistry

from controlplane.access.callers import ApiCaller
from controlplane.access.guard import CallerGuard
from controlplane.access.registry_webhook import RegistryWebhook
from controlplane.backends.backend import Key
from controlplane.changes.context import BackendOf
from controlplane.decide import Observed
from controlplane.store.database import Store
from controlplane.store.events import Actor


@dataclass(frozen=True)
class Control:
    store: Store
    backend_of: BackendOf
    guard: CallerGuard
    mark: Callable[[Key], None]
    """Tells the loops that something is wanted."""
    mark_artifacts: Callable[[], None]
    """Tells them that an artifact is wanted."""
    acts: Callable[[], bool]
    waiting: Callable[[], int]
    """How many keys wait for the loops."""
    metrics: CollectorRegistry
    registry_webhook: RegistryWebhook
    mark_followed: Callable[[], None]
    """Tells the loops that a model URI may have moved."""
    last_seen: Callable[[Key], Observed | None] = lambda key: None
    """What the loops saw of a target last; None if they do not act here, or the back end does not answer."""


def control_of(request: Request) -> Control:
    control: Control = request.app.state.control
    return control


def caller_of(request: Request) -> ApiCaller:
    caller: ApiCaller = request.state.caller
    return caller


def actor_of(request: Request) -> Actor:
    return Actor(caller_of(request).name, source_of(request))


def source_of(request: Request) -> str:
    """The address of the caller. A proxy on this machine may name it, and so may whoever pretends to be one."""
    try:
        return str(ipaddress.ip_address(request.client.host)) if request.client else "unknown"
    except ValueError:
        return "unknown"
