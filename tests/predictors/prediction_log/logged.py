"""Readers of prediction logs for tests, and a receiver of CloudEvents."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.http_server import QuietHandler
from tests.predictors.telemetry.test_metrics import samples, value
from tests.serving import Running


def files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*.parquet") if each.parent.name != ".partial")


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a log, ordered by time."""
    log = [row for file in files(folder) for row in pq.read_table(file, partitioning=None).to_pylist()]
    return sorted(log, key=lambda row: (row["time"], row["row"]))


def ids(folder: Path) -> list[str]:
    return [row["request_id"] for row in rows(folder)]


def records(server: Running, result: str) -> float:
    labels = {"model_name": server.name, "result": result}
    return value(samples(server), "model_prediction_log_records_total", **labels)


def waiting(server: Running) -> float:
    return value(samples(server), "model_prediction_log_queue", model_name=server.name)


@dataclass
class Event:
    headers: dict[str, str]
    body: Any

    @property
    def kind(self) -> str:
        return self.headers["ce-type"].rpartition(".")[2]


@dataclass
class Receiver:
    url: str = ""
    events: list[Event] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses of the first responses; later ones are 200."""
    open: threading.Event = field(default_factory=threading.Event)
    """Until it is set, no request is answered."""
    requested: threading.Event = field(default_factory=threading.Event)

    def of_kind(self, kind: str) -> list[Event]:
        return [event for event in list(self.events) if event.kind == kind]


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.open.set()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            receiver.requested.set()
            receiver.open.wait()
            status = receiver.answers.pop(0) if receiver.answers else 200
            if status == 200:
                receiver.events.append(Event({name.lower(): text for name, text in self.headers.items()}, body))
            self.reply(status, location="/elsewhere")

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", port), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/logs"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.open.set()
        server.shutdown()
        server.server_close()


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"
