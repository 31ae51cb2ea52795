"""The two answers of MLflow's registry that the control plane asks for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from urllib.parse import parse_qs, urlparse

from tests.http_server import QuietHandler

MOVING = "models:/fraud@champion"


class AliasRegistry:
    """Aliases of one model that a test moves."""

    def __init__(self) -> None:
        self.aliases = {"champion": "7"}
        self.asked = 0
        registry = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                registry.asked += 1
                alias = parse_qs(urlparse(self.path).query)["alias"][0]
                if alias in registry.aliases:
                    self.answer(200, {"model_version": {"name": "fraud", "version": registry.aliases[alias]}})
                else:
                    message = f"Registered model alias {alias} not found."
                    self.answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": message})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                known = body.get("stages", ["Production"]) == ["Production"]
                self.answer(200, {"model_versions": [{"version": "3"}, {"version": "12"}] if known else []})

            def answer(self, status: int, body: object) -> None:
                self.reply(status, json.dumps(body).encode())

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def alias_registry() -> Iterator[AliasRegistry]:
    registry = AliasRegistry()
    thread = threading.Thread(target=registry.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        registry.server.shutdown()
        thread.join()
        registry.server.server_close()
