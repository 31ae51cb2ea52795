"""What the HTTP servers that stand in for others in tests have in common."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that sends whole replies and logs nothing."""

    def reply(self, status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def endless_server(packed: bytes | None = None) -> Iterator[str]:
    """The URL of a server whose answers never end, and never pause for long; or are packed, though nobody asked."""
    stop = threading.Event()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            if packed is not None:
                return self.reply(200, packed, **{"Content-Encoding": "gzip"})
            self.send_response(200)
            self.end_headers()
            try:
                while not stop.wait(0.02):
                    self.wfile.write(b" ")
            except OSError:
                return None

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
