"""Posts what is in the outbox: at least once, in order for each subject, until it is accepted or given up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy.exc import DBAPIError

from controlplane.backends.secret_files import MissingSecret, secret_text
from controlplane.domain.notifications import KEY_PREFIX, notification, signature
from controlplane.domain.secrets import SecretReference
from controlplane.domain.webhooks import WebhookConfig, url_problem
from controlplane.failpoints import failpoint
from controlplane.loops.actor import ACTOR
from controlplane.loops.metrics import LoopMetrics
from controlplane.store import deliveries, events, leases, webhooks
from controlplane.store.database import Store
from controlplane.store.deliveries import Delivery
from controlplane.store.leases import FencedOff, Lease

log = logging.getLogger("controlplane")

POLL_INTERVAL = 1.0
REPLY_SECONDS = 10.0
"""How long a receiver may take, from the name of its host to the status of its reply."""
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 5.0, 600.0
GIVE_UP_SECONDS = 86400.0
FORGET_INTERVAL = 3600.0
NOT_FOR_THE_EVENT = (408, 425, 429)
"""Refusals that another event would meet too, as those from 500 on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt."""

    error: str = ""
    """Empty if the receiver has accepted the event."""
    pauses: bool = False
    """Whether other events for the webhook would fail as well."""


class WebhookSender:
    def __init__(self, store: Store, secrets: Path, lease: Callable[[], Lease], metrics: LoopMetrics) -> None:
        """`lease` raises FencedOff unless this control plane acts."""
        self.store, self.secrets, self.lease, self.metrics = store, secrets, lease, metrics
        self.forget_at = 0.0

    async def run(self, stop: threading.Event) -> None:
        """Delivers until it is told to stop; a receiver that is slow holds up no other."""
        tasks: dict[str, asyncio.Task[None]] = {}
        async with httpx.AsyncClient(timeout=REPLY_SECONDS, follow_redirects=False) as client:
            while not stop.is_set():
                for name in self.due():
                    if name not in tasks or tasks[name].done():
                        tasks[name] = asyncio.create_task(self.deliver_all(client, name))
                await asyncio.to_thread(stop.wait, POLL_INTERVAL)
            for task in tasks.values():
                task.cancel()  # what was sent and not noted is sent again
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def due(self) -> list[str]:
        try:
            lease, now = self.lease(), self.store.now()
            if now >= self.forget_at:
                with self.store.writing() as tx:
                    leases.require(tx, lease)
                    deliveries.forget(tx, now)
                self.forget_at = now + FORGET_INTERVAL
            with self.store.reading() as tx:
                return deliveries.due_webhooks(tx, now)
        except FencedOff:
            return []  # whoever acts delivers
        except DBAPIError as error:
            log.error("the store does not answer, and webhooks wait: %s", error.orig)
            return []

    async def deliver_all(self, client: httpx.AsyncClient, name: str) -> None:
        """Delivers what is due to one webhook, until it fails as a whole."""
        try:
            while await self.deliver_next(client, name):
                pass
        except FencedOff:
            pass
        except DBAPIError as error:
            log.error("the store does not answer, and webhook %s waits: %s", name, error.orig)
        except Exception:
            log.exception("webhook %s failed and is tried again", name)

    async def deliver_next(self, client: httpx.AsyncClient, name: str) -> bool:
        """Whether there may be more to deliver at once."""
        lease = self.lease()
        with self.store.reading() as tx:
            webhook = webhooks.find(tx, name)
            delivery = deliveries.next_due(tx, name, self.store.now())
            event = events.as_json(events.get(tx, delivery.event)) if delivery else None
        if webhook is None or delivery is None or event is None:
            return False
        body, content_type = notification(event, webhook.config)
        outcome = await self.post(client, webhook.config, str(delivery.event), body, content_type)
        failpoint("after_send")
        self.note(lease, delivery, outcome)
        return not outcome.pauses

    async def post(
        self, client: httpx.AsyncClient, config: WebhookConfig, id: str, body: bytes, content_type: str
    ) -> Outcome:
        try:
            url = self.url_of(config)
            headers = {"content-type": content_type, "user-agent": "mlflow-kserve", **self.signed(config, id, body)}
            async with (
                asyncio.timeout(REPLY_SECONDS),
                client.stream("POST", url, content=body, headers=headers) as reply,
            ):
                return outcome_of(reply.status_code)  # its body is not read
        except MissingSecret as error:
            return Outcome(str(error), pauses=True)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(f"no reply within {REPLY_SECONDS:g} s", pauses=True)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as error:  # some names of hosts are none
            return Outcome(f"it cannot be reached: {type(error).__name__}", pauses=True)

    def url_of(self, config: WebhookConfig) -> str:
        """Raises MissingSecret."""
        if not isinstance(config.url, SecretReference):
            return config.url
        url = secret_text(self.secrets, config.url.secret, config.url.key).strip()
        if problem := url_problem(url):
            raise MissingSecret(f"what secret {config.url.secret} has under the key {config.url.key} {problem}")
        return url

    def signed(self, config: WebhookConfig, id: str, body: bytes) -> dict[str, str]:
        """The headers of Standard Webhooks; the id is the same at each attempt. Raises MissingSecret."""
        timestamp = int(self.store.now())
        headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
        if config.secret is not None:
            secret = secret_text(self.secrets, config.secret.secret, config.secret.key)
            if not secret.removeprefix(KEY_PREFIX):
                raise MissingSecret(f"secret {config.secret.secret} has nothing under the key {config.secret.key}")
            headers["webhook-signature"] = signature(secret, id, timestamp, body)
        return headers

    def note(self, lease: Lease, delivery: Delivery, outcome: Outcome) -> None:
        with self.store.writing() as tx:
            leases.require(tx, lease)
            now = self.store.now()
            if not outcome.error:
                deliveries.note(tx, now, delivery, "DELIVERED", "", now)
                self.metrics.deliveries.labels("delivered").inc()
                return
            retry_at = now + min(FIRST_RETRY_SECONDS * 2 ** min(delivery.attempts, 20), MAX_RETRY_SECONDS)
            if outcome.pauses:
                deliveries.postpone(tx, delivery.webhook, retry_at)
            if now - delivery.created_at < GIVE_UP_SECONDS:
                deliveries.note(tx, now, delivery, "PENDING", outcome.error, retry_at)
                self.metrics.deliveries.labels("failed").inc()
                return
            deliveries.note(tx, now, delivery, "GIVEN_UP", outcome.error, now)
            self.metrics.deliveries.labels("given_up").inc()
            after = {"webhook": delivery.webhook, "delivery": delivery.id, "event": delivery.event}
            events.add(tx, now, ACTOR, "webhook.given-up", after=after, message=outcome.error)
        log.error("webhook %s: event %s is given up: %s", delivery.webhook, delivery.event, outcome.error)


def outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome()
    if 300 <= status < 400:
        return Outcome(f"status {status}: redirects are not followed")
    return Outcome(f"status {status}", pauses=status >= 500 or status in NOT_FOR_THE_EVENT)
