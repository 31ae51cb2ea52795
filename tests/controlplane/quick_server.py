"""A server that is ready at once, in place of the predictor: `quick_server.py PORT`. It says when it starts and ends."""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import FrameType


class QuickReply(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("x-port", sys.argv[1])
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def end(number: int, frame: FrameType | None) -> None:
    print("ended", flush=True)
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), QuickReply)
    print("started", flush=True)
    server.serve_forever()
