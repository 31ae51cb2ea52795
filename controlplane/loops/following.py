"""Asks registries what moving model URIs name, and has serves follow that said so."""

from __future__ import annotations

import logging
from collections.abc import Callable

from controlplane.backends.backend import BackendAway
from controlplane.backends.registry import NotResolved, RegistryAway, moves, pin
from controlplane.changes import following
from controlplane.changes.context import BackendOf, ChangeContext
from controlplane.changes.models import model_of
from controlplane.domain.problems import ApiProblem
from controlplane.loops.actor import ACTOR
from controlplane.store import environments, events, followed, leases
from controlplane.store.database import Store
from controlplane.store.followed import FollowedServe
from controlplane.store.leases import Lease

log = logging.getLogger("controlplane")

UNDER_WAY = 409
"""Another change is under way, or waits: the next time will do."""


class UriFollower:
    def __init__(self, store: Store, backend_of: BackendOf, lease: Callable[[], Lease]) -> None:
        """`lease` raises FencedOff unless this control plane acts."""
        self.store, self.backend_of, self.lease = store, backend_of, lease
        self.failed: dict[str, str] = {}
        """What was said last of a URI that no registry could tell about."""

    def follow_all(self, changed: Callable[[FollowedServe], None]) -> None:
        """Asks for each URI once, and no more where a registry is away; `changed` is told what has begun to move."""
        with self.store.reading() as tx:
            serves = [each for each in followed.everything(tx) if moves(each.uri)]
        named: dict[tuple[str, str], str | None] = {}
        away: set[str] = set()
        for seen in serves:
            place = (seen.tracking_uri, seen.uri)
            if place not in named:
                self.lease()
                named[place] = self.named_by(seen, away)
            version = named[place]
            if version is not None and version != seen.named and self.follow(seen, version):
                changed(seen)

    def named_by(self, seen: FollowedServe, away: set[str]) -> str | None:
        """The version that a URI names now; None if nobody can tell."""
        if seen.tracking_uri in away:
            return None
        try:
            version = pin(seen.uri, seen.tracking_uri)
        except NotResolved as error:
            if isinstance(error, RegistryAway):
                away.add(seen.tracking_uri)
            self.warn(seen, str(error))
            return None
        self.failed.pop(seen.uri, None)
        return version

    def warn(self, seen: FollowedServe, message: str) -> None:
        """Once for each message."""
        if self.failed.get(seen.uri) != message:
            log.warning("%s/%s follows %s: %s", seen.env, seen.serve, seen.uri, message)
        self.failed[seen.uri] = message

    def follow(self, seen: FollowedServe, version: str) -> bool:
        """Whether a change has begun."""
        lease = self.lease()
        with self.store.reading() as tx:
            environment = environments.get(tx, seen.env).config
        try:
            model = model_of(version, environment)
        except ApiProblem as problem:
            self.warn(seen, problem.detail)  # it may be readable the next time
            return False
        try:
            with self.store.writing() as tx:
                leases.require(tx, lease)
                context = ChangeContext(tx, self.store.now(), ACTOR, self.backend_of)
                return following.follow(context, seen, model) is not None
        except BackendAway as error:
            self.warn(seen, str(error))
            return False
        except ApiProblem as problem:
            if problem.status != UNDER_WAY:
                self.note_refusal(lease, seen, version, problem)
            return False

    def note_refusal(self, lease: Lease, seen: FollowedServe, version: str, problem: ApiProblem) -> None:
        """A version that cannot be deployed is not tried again until the URI moves."""
        log.error("%s/%s does not follow to %s: %s", seen.env, seen.serve, version, problem.detail)
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            followed.note(tx, now, seen.serve, seen.env, seen.uri, version)
            events.add(
                tx, now, ACTOR, "follow.refused", serve=seen.serve, env=seen.env, message=problem.detail[:1000],
                after={"uri": seen.uri, "version": version},
            )  # fmt: skip
