"""The threads: one holds the lease, one looks at everything each minute, a few reconcile what may have changed."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from controlplane.backends.backend import BackendAway, Key
from controlplane.changes.context import BackendOf
from controlplane.decide import Observed
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.problems import ApiProblem
from controlplane.loops.artifacts import ArtifactFetcher
from controlplane.loops.following import UriFollower
from controlplane.loops.metrics import LoopMetrics
from controlplane.loops.queue import DelayQueue
from controlplane.loops.reconciler import Reconciler
from controlplane.loops.webhooks import WebhookSender
from controlplane.store import environments, leases, rollouts, targets
from controlplane.store.database import Store
from controlplane.store.leases import LEASE_SECONDS, FencedOff, Lease

log = logging.getLogger("controlplane")

WORKERS = 4
LEASE = "loops"
RENEW_INTERVAL = LEASE_SECONDS / 3
FULL_LOOK_INTERVAL = 60.0
RETRY_INTERVAL = 1.0
FOLLOW_INTERVAL = 30.0
"""Between two questions to a registry."""


class Loops:
    def __init__(self, store: Store, backend_of: BackendOf, holder: str, data: Path) -> None:
        self.store, self.backend_of, self.holder = store, backend_of, holder
        self.queue: DelayQueue[Key] = DelayQueue(store.now)
        self.metrics = LoopMetrics()
        self.metrics.waiting.set_function(self.queue.__len__)
        self.metrics.acts.set_function(lambda: float(self.acts))
        self.reconciler = Reconciler(store, backend_of, self.current_lease, self.metrics)
        self.artifacts = ArtifactFetcher(store, data / "artifacts", data / "secrets", self.current_lease)
        self.artifacts_wanted = threading.Event()
        self.webhooks = WebhookSender(store, data / "secrets", self.current_lease, self.metrics)
        self.followed_moved = threading.Event()
        """Somebody has said that a model URI has moved."""
        self.follower = UriFollower(store, backend_of, self.current_lease)
        self.lease: Lease | None = None
        self.lease_until = 0.0
        """By the monotonic clock, which does not jump."""
        self.watched: set[int] = set()
        self.away: set[Key] = set()
        """Keys whose back end did not answer when they were seen to last."""
        self.stop = threading.Event()
        self.shared_changed = threading.Event()
        self.threads = [
            threading.Thread(target=self.lead, name="lease"),
            threading.Thread(target=self.survey, name="survey"),
            threading.Thread(target=self.fetch, name="artifacts"),
            threading.Thread(target=self.send, name="webhooks"),
            threading.Thread(target=self.follow, name="following"),
            *(threading.Thread(target=self.work, name=f"loop-{number}") for number in range(WORKERS)),
        ]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Ends the loops once they have noted what they did, and lets another control plane act at once."""
        self.stop.set()
        self.shared_changed.set()
        self.artifacts_wanted.set()
        self.followed_moved.set()
        self.queue.close()
        for thread in self.threads:
            thread.join()
        lease, self.lease = self.lease, None
        if lease is not None:
            try:
                with self.store.writing() as tx:
                    leases.release(tx, lease)
            except DBAPIError:
                pass  # it expires by itself

    def mark(self, key: Key) -> None:
        """Something may have happened to a key."""
        self.queue.add(key)

    def last_seen(self, key: Key) -> Observed | None:
        """What was there of a key when it was seen to last; None where another control plane sees to it."""
        return self.reconciler.last_seen.get(key) if self.acts else None

    @property
    def acts(self) -> bool:
        """Whether this control plane is the one that acts."""
        return self.lease is not None and time.monotonic() < self.lease_until

    def current_lease(self) -> Lease:
        lease = self.lease
        if lease is None or not self.acts:
            raise FencedOff("another control plane acts")
        return lease

    # -- threads ------------------------------------------------------------------------------------------------

    def lead(self) -> None:
        """Holds the lease."""
        while not self.stop.is_set():
            acted = self.acts
            try:
                self.renew()
            except Exception:
                log.exception("the lease cannot be renewed")
            if self.acts and not acted:
                log.info("this control plane acts (%s)", self.holder)
                self.shared_changed.set()
            self.stop.wait(RENEW_INTERVAL)

    def survey(self) -> None:
        """Looks at everything: when the lease is acquired, and every minute."""
        look_at = 0.0
        while not self.stop.is_set():
            try:
                if self.acts and (self.shared_changed.is_set() or time.monotonic() >= look_at):
                    look_at = 0.0  # until it is through: a full disk may end it half-way
                    self.shared_changed.clear()
                    self.resync()
                    look_at = time.monotonic() + FULL_LOOK_INTERVAL
            except Exception:
                log.exception("the full look failed and is tried again")
            self.shared_changed.wait(RENEW_INTERVAL)

    def renew(self) -> None:
        begun = time.monotonic()
        try:
            with self.store.writing() as tx:
                lease = leases.acquire(tx, LEASE, self.holder, self.store.now())
        except DBAPIError as error:
            log.error("the store does not answer, and the loops wait: %s", error.orig)
            return
        if lease is None and self.lease is not None:
            log.warning("another control plane acts now")
        self.lease, self.lease_until = lease, begun + LEASE_SECONDS

    def resync(self) -> None:
        """Everything that is wanted or there is due; what serves share is kept up."""
        try:
            with self.store.reading() as tx:
                keys = {Key(target.env, target.serve) for target in targets.everything(tx)}
                self.metrics.count_rollouts(*rollouts.under_way(tx))
                configs = [environment.config for environment in environments.everything(tx)]
        except DBAPIError as error:
            log.error("the store does not answer, and the loops wait: %s", error.orig)
            return
        seen: set[int] = set()
        for config in configs or [EnvironmentConfig()]:
            try:
                backend = self.backend_of(config)
                if id(backend) in seen:
                    continue
                seen.add(id(backend))
                if id(backend) not in self.watched:
                    backend.watch(self.changed)
                    self.watched.add(id(backend))
                backend.tend()
                keys |= set(backend.keys())
            except BackendAway as error:
                log.error("%s", error)
        for key in sorted(keys):
            self.queue.add(key)

    def changed(self, key: Key | None) -> None:
        if key is None:
            self.shared_changed.set()
        else:
            self.queue.add(key)

    def fetch(self) -> None:
        """Fetches artifacts when one is wanted, and those that another control plane left."""
        while not self.stop.is_set():
            try:
                if self.acts:
                    self.artifacts_wanted.clear()
                    self.artifacts.fetch_all()
            except FencedOff:
                pass  # whoever acts fetches them
            except DBAPIError as error:
                log.error("the store does not answer, and artifacts wait: %s", error.orig)
            except Exception:
                log.exception("artifacts cannot be fetched")
            self.artifacts_wanted.wait(RENEW_INTERVAL)

    def follow(self) -> None:
        """Asks what the model URIs name that serves follow: from time to time, and when one is said to have moved."""
        while True:
            self.followed_moved.wait(FOLLOW_INTERVAL)
            self.followed_moved.clear()
            if self.stop.is_set():
                return
            try:
                if self.acts:
                    self.follower.follow_all(lambda seen: self.queue.add(Key(seen.env, seen.serve)))
            except FencedOff:
                pass  # whoever acts asks
            except DBAPIError as error:
                log.error("the store does not answer, and no model URI is followed: %s", error.orig)
            except Exception:
                log.exception("model URIs cannot be followed")

    def send(self) -> None:
        """Delivers events to webhooks."""
        while not self.stop.is_set():
            try:
                asyncio.run(self.webhooks.run(self.stop))
            except Exception:
                log.exception("webhooks cannot be served")
                self.stop.wait(RENEW_INTERVAL)

    def work(self) -> None:
        while (key := self.queue.get()) is not None:
            try:
                with self.metrics.seconds.time():
                    outcome, again_at = self.reconcile(key)
                self.metrics.reconciled.labels(outcome).inc()
            finally:
                self.queue.done(key)
            if again_at is not None and not self.stop.is_set():
                self.queue.add(key, again_at)

    def reconcile(self, key: Key) -> tuple[str, float | None]:
        """What came of seeing to a key, and when to see again."""
        try:
            again_at = self.reconciler.reconcile(key)
            self.away.discard(key)
            return "done", again_at
        except FencedOff:
            return "fenced_off", None  # whoever acts sees to it
        except ApiProblem:
            return "changed_meanwhile", self.store.now()
        except BackendAway as error:
            if key not in self.away:
                log.error("%s: nothing is known, and nothing is decided: %s", key, error)
            self.away.add(key)
            return "backend_away", self.store.now() + error.retry_seconds
        except DBAPIError as error:
            log.error("%s: the store does not answer: %s", key, error.orig)
            return "store_away", self.store.now() + RETRY_INTERVAL
        except Exception:
            log.exception("%s: the loop failed and tries again", key)
            return "failed", self.store.now() + RETRY_INTERVAL * 10
