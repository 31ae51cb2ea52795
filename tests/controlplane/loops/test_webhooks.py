"""Webhooks: a receiver of the test gets what happens, in order, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.failpoints import VARIABLE
from controlplane.loops import webhooks
from controlplane.loops.webhooks import GIVE_UP_SECONDS, WebhookSender
from tests.controlplane.plane import Plane
from tests.controlplane.receiver import WebhookReceiver, receiving

SECRET = "a secret of this test"


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def sender(plane: Plane, tmp_path: Path) -> WebhookSender:
    (tmp_path / "secrets" / "hooks").mkdir(parents=True)
    (tmp_path / "secrets" / "hooks" / "key").write_text(f"{SECRET}\n")
    return WebhookSender(plane.store, tmp_path / "secrets", plane.lease, plane.reconciler.metrics)


def deliver(sender: WebhookSender) -> None:
    """What is due now."""

    async def all_due() -> None:
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(sender.deliver_all(client, name) for name in sender.due()))

    asyncio.run(all_due())


def subscribe(plane: Plane, receiver: WebhookReceiver, **fields: Any) -> Any:
    return plane.post("/webhook", {"name": "ops", "url": receiver.url, **fields}, 201)


def state(plane: Plane) -> tuple[int, int, str | None]:
    shown = plane.get("/webhook/ops")
    return shown["pending"], shown["given_up"], shown["last_error"]


def test_signed_cloud_events_in_order(plane: Plane, receiver: WebhookReceiver, sender: WebhookSender) -> None:
    subscribe(plane, receiver, secret={"secret": "hooks", "key": "key"}, env="local", actions=["deploy"])
    plane.post("/environment", {"name": "prod"}, 201)
    for env, serve in (("prod", "fraud"), ("local", "fraud"), ("local", "other")):
        plane.deploy(serve=serve, env=env)
    deliver(sender)
    headers, body = receiver.posts[0]
    event = json.loads(body)
    listed = plane.get("/event?env=local&serve=fraud")["items"]
    assert event == {
        "specversion": "1.0", "id": str(listed[0]["id"]), "source": "mlflow-kserve", "type": "mlflow-kserve.deploy",
        "subject": "local/fraud", "time": listed[0]["at"], "datacontenttype": "application/json", "data": listed[0],
    }  # fmt: skip
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-id"] == event["id"]
    signed = f"{event['id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert [(each["subject"], each["type"]) for each in receiver.taken()] == [
        ("local/fraud", "mlflow-kserve.deploy"), ("local/fraud", "mlflow-kserve.deploy.succeeded"),
        ("local/other", "mlflow-kserve.deploy"), ("local/other", "mlflow-kserve.deploy.succeeded"),
    ]  # fmt: skip
    assert state(plane) == (0, 0, None)
    deliver(sender)
    assert receiver.taken() == []
    assert plane.get("/webhook/ops/delivery?state=DELIVERED")["total"] == 4
    plane.clock.time += 8 * 86400
    deliver(sender)
    assert plane.get("/webhook/ops/delivery")["total"] == 0


def test_a_receiver_that_fails_gets_everything_later(
    plane: Plane, receiver: WebhookReceiver, sender: WebhookSender
) -> None:
    subscribe(plane, receiver, actions=["deploy", "undeploy"])
    plane.deploy()
    receiver.statuses = [503, 302, 404]
    for number, message in enumerate(("status 503", "status 302: redirects are not followed", "status 404")):
        deliver(sender)
        assert receiver.actions() == ["deploy"]
        assert state(plane) == (2, 0, message)
        deliver(sender)
        assert receiver.taken() == [], "it waits"
        plane.clock.time += 5 * 2**number
    deliver(sender)
    assert receiver.actions() == ["deploy", "deploy.succeeded"]
    first = plane.get("/webhook/ops/delivery")["items"][-1]
    assert (first["state"], first["attempts"], first["message"]) == ("DELIVERED", 4, "")


def test_an_event_that_is_refused_holds_up_its_subject_alone(
    plane: Plane, receiver: WebhookReceiver, sender: WebhookSender
) -> None:
    subscribe(plane, receiver, actions=["deploy"])
    receiver.refused = {"local/fraud"}
    plane.deploy()
    plane.deploy(serve="other")
    deliver(sender)
    assert [(each["subject"], each["data"]["action"]) for each in receiver.taken()] == [
        ("local/fraud", "deploy"), ("local/other", "deploy"), ("local/other", "deploy.succeeded"),
    ]  # fmt: skip
    receiver.refused = set()
    plane.clock.time += 5
    deliver(sender)
    assert receiver.actions() == ["deploy", "deploy.succeeded"]


def test_receivers_that_hang_or_are_away(
    plane: Plane, receiver: WebhookReceiver, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "REPLY_SECONDS", 0.1)
    subscribe(plane, receiver)
    receiver.hangs.set()
    deliver(sender)
    assert state(plane)[2] is None, "what is said of webhooks is not posted"
    plane.post("/serve", {"name": "fraud"}, 201)
    deliver(sender)
    assert state(plane) == (1, 0, "no reply within 0.1 s")
    plane.patch("/webhook/ops", {"url": "http://127.0.0.1:9/x"})
    plane.clock.time += 5
    deliver(sender)
    assert state(plane) == (1, 0, "it cannot be reached: ConnectError")
    plane.patch("/webhook/ops", {"url": {"secret": "hooks", "key": "none"}})
    plane.clock.time += 10
    deliver(sender)
    assert state(plane) == (1, 0, "there is no secret hooks with the key none")
    plane.patch("/webhook/ops", {"url": "http://xn--/"})
    plane.clock.time += 20
    deliver(sender)
    assert state(plane) == (1, 0, "it cannot be reached: IDNAError")


@pytest.mark.parametrize("text", ["", "\n", "whsec_"])
def test_nothing_is_signed_with_an_empty_key(
    plane: Plane, receiver: WebhookReceiver, sender: WebhookSender, tmp_path: Path, text: str
) -> None:
    (tmp_path / "secrets" / "hooks" / "empty").write_text(text)
    subscribe(plane, receiver, secret={"secret": "hooks", "key": "empty"})
    plane.post("/serve", {"name": "fraud"}, 201)
    deliver(sender)
    assert state(plane) == (1, 0, "secret hooks has nothing under the key empty")
    assert receiver.taken() == []


def test_what_is_given_up_is_said_and_can_be_repeated(
    plane: Plane, receiver: WebhookReceiver, sender: WebhookSender
) -> None:
    subscribe(plane, receiver)
    plane.post("/serve", {"name": "fraud"}, 201)
    receiver.statuses = [500, 500]
    deliver(sender)
    plane.clock.time += GIVE_UP_SECONDS
    deliver(sender)
    assert state(plane) == (0, 1, None)
    event = plane.get("/event")["items"][-1]
    assert (event["action"], event["message"]) == ("webhook.given-up", "status 500")
    delivery = plane.get("/webhook/ops/delivery?state=GIVEN_UP")["items"][0]
    assert event["after"] == {"webhook": "ops", "delivery": delivery["id"], "event": delivery["event"]}
    receiver.taken()
    place = f"/webhook/ops/delivery/{delivery['id']}/repeat"
    assert plane.post(place, None, 200)["state"] == "PENDING"
    deliver(sender)
    assert receiver.actions() == ["serve.create"]
    plane.post(place, None, 409)


def test_slack(plane: Plane, receiver: WebhookReceiver, sender: WebhookSender, tmp_path: Path) -> None:
    """Its URL is a secret, and what people say calls nobody."""
    (tmp_path / "secrets" / "hooks" / "slack").write_text(receiver.url)
    subscribe(plane, receiver, url={"secret": "hooks", "key": "slack"}, format="slack", actions=["deploy"])
    plane.deploy(reason="<!channel> & <http://evil|all>")
    deliver(sender)
    assert receiver.taken() == [
        {
            "text": "*fraud* in *local*: deploy (by anybody on this machine) — &lt;!channel&gt; &amp; &lt;http://evil|all&gt;"
        },
        {"text": "*fraud* in *local*: deploy succeeded (by controlplane)"},
    ]


def test_nothing_is_lost_when_the_control_plane_is_killed(
    plane: Plane, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    """Between the reply and its note: the event is posted again, with the same id."""
    subscribe(plane, receiver)
    plane.post("/serve", {"name": "fraud"}, 201)

    def send(failpoint: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", SENDING, str(tmp_path), str(plane.clock())],
            env={**os.environ, VARIABLE: failpoint}, timeout=60,
        ).returncode  # fmt: skip

    assert send("after_send") == -signal.SIGKILL
    assert state(plane)[0] == 1
    assert send("") == 0
    assert state(plane)[0] == 0
    assert [headers["webhook-id"] for headers, _ in receiver.posts] == [receiver.posts[0][0]["webhook-id"]] * 2


SENDING = """
import sys
from pathlib import Path
from controlplane.loops.metrics import LoopMetrics
from controlplane.loops.webhooks import WebhookSender
from controlplane.store import leases
from controlplane.store.database import Store
from tests.controlplane.loops.test_webhooks import deliver

folder, now = Path(sys.argv[1]), float(sys.argv[2])
store = Store(f"sqlite:///{folder / 'plane.db'}", lambda: now)
with store.writing() as tx:
    lease = leases.acquire(tx, "loops", leases.this_process(), now)
deliver(WebhookSender(store, folder / "secrets", lambda: lease, LoopMetrics()))
"""


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"url": "ftp://host/x"}, "url", "no http or https URL"),
        ({"url": "http://"}, "url", "no http or https URL"),
        ({"url": "http://[::1/x"}, "url", "is no URL"),
        ({"url": "http://me:secret@host/x"}, "url", "holds a password"),
        ({"url": {"secret": "../x", "key": "k"}}, "url.SecretReference.secret", "'../x'"),
        ({"format": "teams"}, "format", "'teams'"),
        ({"format": "slack", "secret": {"secret": "a", "key": "b"}}, "body", "slack has no signature"),
        ({"actions": ["DROP TABLE"]}, "actions.0", "'DROP TABLE'"),
        ({"colour": 1}, "colour", "is not a field"),
    ],
)
def test_webhooks_that_are_refused(plane: Plane, fields: dict[str, Any], field: str, reason: str) -> None:
    problem = plane.post("/webhook", {"name": "ops", "url": "http://host", **fields}, 422)
    errors = {each["field"]: each["reason"] for each in problem["errors"]}
    assert reason in errors[field], errors
    assert "me:secret" not in json.dumps(problem)
    assert plane.get("/webhook")["total"] == 0


def test_they_are_data(plane: Plane, receiver: WebhookReceiver) -> None:
    subscribe(plane, receiver)
    plane.post("/webhook", {"name": "ops", "url": receiver.url}, 409)
    tag = plane.client.get("/webhook/ops").headers["etag"]
    changed = plane.patch("/webhook/ops", {"env": "prod", "actions": ["deploy.failed"]}, headers={"if-match": tag})
    assert (changed["env"], changed["actions"], changed["url"]) == ("prod", ["deploy.failed"], receiver.url)
    plane.patch("/webhook/ops", {"env": "local"}, 412, headers={"if-match": tag})
    assert plane.patch("/webhook/ops", {"env": None})["env"] is None
    plane.patch("/webhook/ops", {"name": "other"}, 422)
    audit = plane.get("/event")["items"][0]
    assert (audit["action"], audit["after"]["url"]) == ("webhook.create", receiver.url.removesuffix("/hook"))
    plane.post("/serve", {"name": "fraud"}, 201)
    assert plane.send("DELETE", "/webhook/ops").status_code == 204
    assert plane.send("GET", "/webhook/ops").status_code == 404
    ops = plane.post("/token", {"name": "ops", "roles": {"*": "admin"}}, 201)["token"]
    who = plane.post(
        "/token", {"name": "who", "roles": {"*": "deployer"}}, 201, headers={"authorization": f"Bearer {ops}"}
    )["token"]
    assert plane.send("GET", "/webhook", headers={"authorization": f"Bearer {who}"}).status_code == 403
