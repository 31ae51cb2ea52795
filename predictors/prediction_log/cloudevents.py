"""CloudEvents over HTTP in the format of KServe's logger: one for each request, and one for its response."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3

from predictors.prediction_log.json_lines import row_objects
from predictors.prediction_log.sink import SinkReport
from predictors.prediction_log.table import Table
from predictors.protocol import jsontext

REQUEST, RESPONSE = "org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"
MAX_SENDERS = 8  # requests whose events are sent at the same time
MAX_ATTEMPTS = 5
BACKOFF = 0.2  # seconds before the second attempt, doubled each time
CONNECT_TIMEOUT, READ_TIMEOUT = 2.0, 10.0  # seconds
RETRIED_STATUSES = (408, 425, 429, 500, 502, 503, 504)
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class EventRefused(Exception):
    """An event was not accepted; the message gives the reason."""


class CloudEvents:
    def __init__(self, url: str, outcome: SinkReport) -> None:
        parts = urlsplit(url)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self.headers: dict[str, str] = {}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers = dict(urllib3.make_headers(basic_auth=user))
        self.outcome = outcome
        self.http = urllib3.PoolManager(maxsize=MAX_SENDERS, retries=False)
        self.senders = ThreadPoolExecutor(MAX_SENDERS, thread_name_prefix="cloudevents")
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
            for kind, data in ((REQUEST, request_data(rows)), (RESPONSE, response_data(rows))):
                self.post({**self.headers, **self.attributes(kind, rows[0])}, jsontext.dump(data))
        except EventRefused as error:
            self.outcome.failed(1)
            self.outcome.log_error("an event was not accepted: %s", error)
        else:
            self.outcome.written(1)

    def attributes(self, kind: str, row: dict[str, Any]) -> dict[str, str]:
        values = {
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
        return {
            "content-type": "application/json",
            **{f"ce-{name}": escaped(text) for name, text in values.items()},
        }

    def post(self, headers: dict[str, str], body: bytes) -> None:
        """Retries failures that may be temporary, as long as there is time."""
        for attempt in range(MAX_ATTEMPTS):
            remaining = self.outcome.deadline - time.monotonic()
            if remaining <= 0:
                raise EventRefused("the server is shutting down")
            timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, remaining), read=min(READ_TIMEOUT, remaining))
            try:
                response = self.http.request(
                    "POST", self.url, body=body, headers=headers, timeout=timeout, redirect=False
                )
            except urllib3.exceptions.HTTPError as error:
                reason = f"{type(error).__name__} at {urlsplit(self.url).netloc}"
            else:
                if response.status < 300:
                    return
                reason = f"{urlsplit(self.url).netloc} answered {response.status}"
                if response.status not in RETRIED_STATUSES:
                    raise EventRefused(reason)
            pause = BACKOFF * 2**attempt
            if attempt + 1 == MAX_ATTEMPTS or time.monotonic() + pause > self.outcome.deadline:
                raise EventRefused(reason)
            time.sleep(pause)


def requests_of(table: Table) -> Iterator[list[dict[str, Any]]]:
    """The rows of each request that has any; others have no event."""
    rows, start = row_objects(table), 0
    for count in table.counts:
        if count:
            yield rows[start : start + count]
        start += count


def request_data(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The model's input as a V1 request."""
    data: dict[str, Any] = {"instances": [row.get("inputs", {}) for row in rows]}
    if "entities" in rows[0]:
        data["entities"] = [row["entities"] for row in rows]
    return data


def response_data(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The prediction as a V1 response, with its protocol, method and latency."""
    first = rows[0]
    outputs = [row.get("outputs", {}) for row in rows]
    single = len(outputs[0]) == 1
    data: dict[str, Any] = {
        "predictions": [next(iter(output.values())) for output in outputs] if single else outputs,
        "model_name": first["model"],
        "model_version": first["version"],
    }
    if "probabilities" in first:
        data["probabilities"] = [row["probabilities"] for row in rows]
    return data | {name: first[name] for name in ("role", "protocol", "method", "latency_ms") if name in first}


def escaped(text: str) -> str:
    """A header value as CloudEvents specifies it: percent-encoded except for printable ASCII."""
    return "".join(char if " " < char <= "~" and char not in '"%' else percent_encoded(char) for char in text)


def percent_encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())
