"""A receiver of webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from tests.http_server import QuietHandler


class WebhookReceiver:
    """Keeps what is posted, and answers each post with the next status that the test has put down, or with 204."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.refused: set[str] = set()
        """Subjects whose events are answered with 422."""
        self.hangs = threading.Event()
        receiver = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.hangs.is_set():
                    time.sleep(1)
                receiver.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
                if json.loads(body).get("subject") in receiver.refused:
                    return self.reply(422)
                return self.reply(receiver.statuses.pop(0) if receiver.statuses else 204, Location="/elsewhere")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def taken(self) -> list[Any]:
        """The bodies since the last time."""
        posts, self.posts = self.posts, []
        return [json.loads(body) for _, body in posts]

    def actions(self) -> list[str]:
        return [each["data"]["action"] for each in self.taken()]


@contextmanager
def receiving() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()
