"""Keeps a number of unary ModelInfer calls in flight on one connection; prints one line of JSON.

gRPC's own Python client needs more time for a call than a fast server, so this one speaks just enough HTTP/2 itself:
every call is the same prepared bytes behind another stream number. A call counts when its reply is one message of the
length that gRPC's own client got for the same request; an error carries no message, so it ends the run.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from pathlib import Path

PATH = "/inference.GRPCInferenceService/ModelInfer"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME_HEAD = 9
_FIRST_WINDOW = 65_535
_WIDEST_WINDOW = 2**31 - 1
_LARGEST_FRAME = 16_384
# The first four entries that we put into the server's table of headers, as references to them; then method and scheme.
_REPEATED_HEADERS = bytes([0x83, 0x86, 0xC1, 0xC0, 0xBF, 0xBE])


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def first_headers(port: int) -> bytes:
    """Headers: method and scheme from HPACK's static table, others as literals with indexing."""

    def literal(start: bytes, value: str) -> bytes:
        return start + bytes([len(value)]) + value.encode()

    def named(name: str, value: str) -> bytes:
        return literal(literal(b"\x40", name), value)

    path, authority = literal(b"\x44", PATH), literal(b"\x41", f"127.0.0.1:{port}")
    return b"\x83\x86" + path + authority + named("content-type", "application/grpc") + named("te", "trailers")


class GrpcLoad:
    def __init__(self, port: int, body: bytes, expected: int) -> None:
        message = b"\0" + len(body).to_bytes(4, "big") + body
        if len(message) > _LARGEST_FRAME:
            raise ValueError("the request does not fit into one frame")
        self._message = message
        self._expected = expected + 5
        self._headers = first_headers(port)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wide = frame(_WINDOW, 0, 0, (_WIDEST_WINDOW - _FIRST_WINDOW).to_bytes(4, "big"))
        self._out = bytearray(_PREFACE + frame(_SETTINGS, 0, 0) + wide)
        self._window = _FIRST_WINDOW
        self._stream = 1
        self._waiting = 0
        self._sent_at: dict[int, float] = {}
        self._received: dict[int, int] = {}
        self.latencies: list[float] = []

    def run(self, calls: int, seconds: float) -> float:
        """Runs the calls, waits for all of them, and returns the seconds."""
        began = time.perf_counter()
        end = began + seconds
        for _ in range(calls):
            self._call()
        buffer = bytearray()
        while self._sent_at or self._waiting:
            if self._out:
                self._socket.sendall(self._out)
                self._out.clear()
            got = self._socket.recv(1 << 18)
            if not got:
                raise ConnectionError("the server closed the connection")
            buffer += got
            now = time.perf_counter()
            place = 0
            while len(buffer) - place >= _FRAME_HEAD:
                length = int.from_bytes(buffer[place : place + 3], "big")
                if len(buffer) - place < _FRAME_HEAD + length:
                    break
                kind, flags = buffer[place + 3], buffer[place + 4]
                stream = int.from_bytes(buffer[place + 5 : place + 9], "big")
                payload = bytes(buffer[place + _FRAME_HEAD : place + _FRAME_HEAD + length])
                place += _FRAME_HEAD + length
                if self._frame(kind, flags, stream, payload, now) and now < end:
                    self._call()
            del buffer[:place]
        return time.perf_counter() - began

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> bool:
        """Handles a frame; returns whether it completed a call."""
        if kind == _DATA:
            self._received[stream] += len(payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._out += frame(_SETTINGS, _ACK, 0)
        elif kind == _PING and not flags & _ACK:
            self._out += frame(_PING, _ACK, 0, payload)
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big")
            waiting, self._waiting = self._waiting, 0
            for _ in range(waiting):
                self._call()
        elif kind in (_RESET, _GOAWAY):
            raise ConnectionError(f"the server ended stream {stream}: {payload!r}")
        if kind not in (_DATA, _HEADERS) or not flags & _END_STREAM:
            return False
        got = self._received.pop(stream)
        if got != self._expected:
            raise ValueError(f"a reply of {got} bytes, not of {self._expected}: an error, or another answer")
        self.latencies.append(now - self._sent_at.pop(stream))
        return True

    def _call(self) -> None:
        if self._window < len(self._message):
            self._waiting += 1
            return
        self._window -= len(self._message)
        self._out += frame(_HEADERS, _END_HEADERS, self._stream, self._headers)
        self._out += frame(_DATA, _END_STREAM, self._stream, self._message)
        self._headers = _REPEATED_HEADERS
        self._sent_at[self._stream] = time.perf_counter()
        self._received[self._stream] = 0
        self._stream += 2


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--expected", type=int, required=True, help="bytes of a right reply's message")
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    load = GrpcLoad(options.port, options.body.read_bytes(), options.expected)
    elapsed = load.run(options.calls, options.seconds)
    load.latencies.sort()
    count = len(load.latencies)
    measured = dict.fromkeys(("status", "connect", "read", "write", "timeout"), 0)
    measured |= {"requests": count, "microseconds": round(elapsed * 1e6)}
    measured |= {
        f"p{share}": round(load.latencies[min(count - 1, count * share // 100)] * 1e6) for share in (50, 90, 99)
    }
    sys.stdout.write("@" + json.dumps(measured) + "\n")
