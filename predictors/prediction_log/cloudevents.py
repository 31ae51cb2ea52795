"""CloudEvents over HTTP in the shape of KServe's logger: one for each request, and one for its response."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3

from predictors.prediction_log.lines import objects
from predictors.prediction_log.sink import SinkReport
from predictors.prediction_log.table import Table
from predictors.protocol import jsontext

REQUEST, RESPONSE = "org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"
AT_ONCE = 8  # requests whose events are on their way
TRIES = 5
PAUSE = 0.2  # seconds before the second try, doubled each time
CONNECT, READ = 2.0, 10.0  # seconds
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class EventRefused(Exception):
    """An event was not taken; the message says why."""


class CloudEvents:
    def __init__(self, url: str, outcome: SinkReport) -> None:
        parts = urlsplit(url)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self.headers: dict[str, str] = {}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers = dict(urllib3.make_headers(basic_auth=user))
        self.outcome = outcome
        self.http = urllib3.PoolManager(maxsize=AT_ONCE, retries=False)
        self.senders = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="cloudevents")
        self.source = f"http://{socket.gethostname()}/"
        self.namespace = NAMESPACE.read_text().strip() if NAMESPACE.exists() else "default"

    def ready(self) -> bool:
        return True

    def write(self, table: Table) -> None:
        list(self.senders.map(self.send, requests_of(table)))
        self.outcome.written(table.counts.count(0))

    def tick(self, closing: bool) -> bool:
        return True

    def send(self, rows: list[dict[str, Any]]) -> None:
        try:
            for kind, data in ((REQUEST, asked(rows)), (RESPONSE, answered(rows))):
                self.post({**self.headers, **self.attributes(kind, rows[0])}, jsontext.dump(data))
        except EventRefused as error:
            self.outcome.failed(1)
            self.outcome.trouble("an event was not taken: %s", error)
        else:
            self.outcome.written(1)

    def attributes(self, kind: str, row: dict[str, Any]) -> dict[str, str]:
        about = {
            "specversion": "1.0",
            "id": row["request_id"],
            "type": kind,
            "source": self.source,
            "time": row["time"],
            "inferenceservicename": row["model"],
            "namespace": self.namespace,
            "component": "predictor",
            "endpoint": "default",
            "metadata": "{}",
        }
        return {"content-type": "application/json", **{f"ce-{name}": escaped(text) for name, text in about.items()}}

    def post(self, headers: dict[str, str], body: bytes) -> None:
        """Once more, and again a little later, where that may help and there is time."""
        for attempt in range(TRIES):
            left = self.outcome.deadline - time.monotonic()
            if left <= 0:
                raise EventRefused("the server ends")
            timeout = urllib3.Timeout(connect=min(CONNECT, left), read=min(READ, left))
            try:
                reply = self.http.request("POST", self.url, body=body, headers=headers, timeout=timeout, redirect=False)
            except urllib3.exceptions.HTTPError as error:
                reason = f"{type(error).__name__} at {urlsplit(self.url).netloc}"
            else:
                if reply.status < 300:
                    return
                reason = f"{urlsplit(self.url).netloc} answered {reply.status}"
                if reply.status not in TRY_AGAIN:
                    raise EventRefused(reason)
            pause = PAUSE * 2**attempt
            if attempt + 1 == TRIES or time.monotonic() + pause > self.outcome.deadline:
                raise EventRefused(reason)
            time.sleep(pause)


def requests_of(table: Table) -> Iterator[list[dict[str, Any]]]:
    """The rows of each request; one without rows has no event."""
    rows, begun = objects(table), 0
    for count in table.counts:
        if count:
            yield rows[begun : begun + count]
        begun += count


def asked(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The request as V1 has it, as the model got it."""
    found: dict[str, Any] = {"instances": [row.get("inputs", {}) for row in rows]}
    if "entities" in rows[0]:
        found["entities"] = [row["entities"] for row in rows]
    return found


def answered(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The reply as V1 has it, and what else is known of it."""
    first = rows[0]
    outputs = [row.get("outputs", {}) for row in rows]
    single = len(outputs[0]) == 1
    found: dict[str, Any] = {
        "predictions": [next(iter(one.values())) for one in outputs] if single else outputs,
        "model_name": first["model"],
        "model_version": first["version"],
    }
    if "probabilities" in first:
        found["probabilities"] = [row["probabilities"] for row in rows]
    return found | {name: first[name] for name in ("protocol", "method", "latency_ms") if name in first}


def escaped(text: str) -> str:
    """As CloudEvents wants header values: percent-encoded where they are not plain."""
    plain = (char if " " < char <= "~" and char not in '"%' else percent(char) for char in text)
    return "".join(plain)


def percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())
