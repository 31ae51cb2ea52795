"""Asks /health/live again and again until its standard input ends, then prints how long each reply took.

It runs as a process of its own, so that the client of an attack does not hold it up, and imports nothing but sockets.
"""

from __future__ import annotations

import select
import socket
import sys
import time

INTERVAL = 0.02  # seconds
PATIENCE = 10.0
REQUEST = b"GET /health/live HTTP/1.1\r\nhost: probe\r\n\r\n"


def main(port: int) -> None:
    durations: list[float] = []
    sock = None
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        begin = time.monotonic()
        try:
            if sock is None:
                sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            sock.sendall(REQUEST)
            reply = b""
            while not reply.endswith(b"}") and (piece := sock.recv(65536)):
                reply += piece
            failed = not reply.startswith(b"HTTP/1.1 200")
        except OSError:
            failed = True
        if failed:
            durations.append(PATIENCE)
            sock = None
        else:
            durations.append(time.monotonic() - begin)
    print(*durations)


if __name__ == "__main__":
    main(int(sys.argv[1]))
