"""Asks a server for its health over HTTP and gRPC until its standard input ends, then prints how long each reply took.

It runs as a process of its own, so that the client of an attack does not hold it up, and imports nothing but sockets.
"""

from __future__ import annotations

import select
import socket
import sys
import time

INTERVAL = 0.02  # seconds
TIMEOUT = 10.0
REQUEST = b"GET /health/live HTTP/1.1\r\nhost: probe\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# :method POST and :scheme http from HPACK's table, then literals that enter no table
PATH = b"/inference.GRPCInferenceService/ServerLive"
HEADERS = (
    b"\x83\x86\x04" + bytes((len(PATH),)) + PATH + b"\x01\x05probe"
    b"\x00\x0ccontent-type\x10application/grpc\x00\x02te\x08trailers"
)  # fmt: skip
MESSAGE = bytes(5)  # without fields
LIVE = b"grpc-status\x010"


class HttpProbe:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)

    def is_healthy(self) -> bool:
        self.sock.sendall(REQUEST)
        reply = b""
        while not reply.endswith(b"}") and (piece := self.sock.recv(65536)):
            reply += piece
        return reply.startswith(b"HTTP/1.1 200")


class GrpcProbe:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.sock.sendall(PREFACE)
        self.stream = 1

    def is_healthy(self) -> bool:
        number = self.stream.to_bytes(4, "big")
        headers = len(HEADERS).to_bytes(3, "big") + b"\x01\x04" + number + HEADERS
        self.sock.sendall(headers + len(MESSAGE).to_bytes(3, "big") + b"\x00\x01" + number + MESSAGE)
        self.stream += 2
        reply = b""
        while LIVE not in reply and (piece := self.sock.recv(65536)):
            reply += piece
        return LIVE in reply


def main(ports: list[int]) -> None:
    durations: list[float] = []
    kinds = (HttpProbe, GrpcProbe)[: len(ports)]
    probes: list[HttpProbe | GrpcProbe | None] = [None for _ in ports]
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        for i, kind in enumerate(kinds):
            begin = time.monotonic()
            try:
                probe = probes[i] = probes[i] or kind(ports[i])
                failed = not probe.is_healthy()
            except OSError:
                failed = True
            if failed:
                durations.append(TIMEOUT)
                probes[i] = None
            else:
                durations.append(time.monotonic() - begin)
    print(*durations)


if __name__ == "__main__":
    main([int(port) for port in sys.argv[1:]])
