"""What every change needs: the transaction, the time, who asks, and the back ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from controlplane.backends.backend import Backend, Key
from controlplane.domain.environments import EnvironmentConfig
from controlplane.store import events
from controlplane.store.events import Actor
from controlplane.store.targets import Revision

BackendOf = Callable[[EnvironmentConfig], Backend]


@dataclass
class ChangeContext:
    tx: Connection
    now: float
    actor: Actor
    backend_of: BackendOf
    dirty: list[Key] = field(default_factory=list)
    """What the loops should see to once this is committed."""
    revisions: list[Revision] = field(default_factory=list)
    """The revisions that are wanted now, for a dry run."""

    def note(
        self,
        action: str,
        *,
        serve: str | None = None,
        env: str | None = None,
        operation: str | None = None,
        before: Any = None,
        after: Any = None,
        message: str = "",
    ) -> None:
        """Adds an audit event to the transaction."""
        events.add(
            self.tx, self.now, self.actor, action,
            serve=serve, env=env, operation=operation, before=before, after=after, message=message,
        )  # fmt: skip
