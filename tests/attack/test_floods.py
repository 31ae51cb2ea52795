"""Floods of small frames on one HTTP/2 connection: each client has a budget of work, and others have their turn."""

from __future__ import annotations

import contextlib
import select
import time

import pytest

from tests.attack.attacked import MIB, Attacked
from tests.attack.http2 import (
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    HEADER_TABLE_SIZE,
    HEADERS,
    INFER,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PING,
    PRIORITY,
    SETTINGS,
    Http2Client,
    block,
    call,
    client,
    fields,
    frame,
    headers,
    priority,
    reset,
    settings,
    string,
    window_update,
)

SECONDS = 2.0  # of each flood
AHEAD = 65_536  # bytes that are sent at a time


def flood(peer: Http2Client, pieces: bytes, seconds: float = SECONDS) -> int:
    """Sends the same again and again, and reads what comes, until the time is over or the server has had enough."""
    sent, deadline = 0, time.monotonic() + seconds
    chunk = pieces * max(1, AHEAD // len(pieces))
    left = memoryview(chunk)
    peer.sock.setblocking(False)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while time.monotonic() < deadline:
            readable, writable, _ = select.select([peer.sock], [peer.sock], [], 0.1)
            if readable and not peer.sock.recv(1 << 20):
                break
            if writable:
                count = peer.sock.send(left)
                sent, left = sent + count, left[count:] or memoryview(chunk)
    return sent


def headers_of(stream: int, extra: bytes) -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(fields("/no/such")) + extra)


def churn() -> bytes:
    """Trailers whose fields push each other out of the dynamic table."""
    entries = b"".join(b"\x40" + string(b"k%d" % i) + string(b"v") for i in range(2000))
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, entries)


def resized() -> bytes:
    """Size updates that empty the table and open it again."""
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20\x3f\xe1\x1f" * 1 + b"\x40" + string(b"k") + string(b"v"))


ONE_STREAM = headers(1, INFER)
TODAY = pytest.mark.xfail(strict=True, reason="this work is not counted")
FLOODS = {
    "window updates of the connection": (b"", window_update(0, 1), True),
    "window updates of a stream": (ONE_STREAM, window_update(1, 1), True),
    "window updates of a stream that has gone": (call(1, "/no/such"), window_update(1, 1), True),
    "settings": (b"", settings(), False),
    "settings of many entries": (b"", settings(*[(0xF000, i) for i in range(2700)]), True),
    "settings that change the window": (b"".join(headers(2 * i + 1, INFER) for i in range(1000)), settings(*[(INITIAL_WINDOW_SIZE, 65_535 + i % 2) for i in range(100)]), True),
    "settings of each kind": (b"", settings((HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (MAX_FRAME_SIZE, 16_384)), False),
    "fields that churn through the table": (call(1, "/no/such"), churn(), True),
    "size updates": (call(1, "/no/such"), resized(), True),
    "pings": (b"", frame(PING, 0, 0, bytes(8)), False),
    "priorities": (b"", frame(PRIORITY, 0, 1, priority(0)), False),
    "unknown frames": (b"", frame(0x42), False),
    "unknown frames that are large": (b"", frame(0x42, 0, 0, bytes(16_384)), False),
    "empty data": (ONE_STREAM, frame(DATA, 0, 1), False),
    "padding": (ONE_STREAM, frame(DATA, 0x8, 1, b"\xff" + bytes(255)), False),
    "resets of a stream that has gone": (call(1, "/no/such"), reset(1), False),
    "continuations": (frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1), False),
    "acknowledgements": (b"", frame(SETTINGS, 1), False),
    "data of a stream that has gone": (call(1, "/no/such"), frame(DATA, 0, 1, b"x"), True),
}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "pieces"),
    [pytest.param(one, many, id=name, marks=[TODAY] if fails else []) for name, (one, many, fails) in FLOODS.items()],
)
def test_frames_that_cost_work(server: Attacked, before: bytes, pieces: bytes) -> None:
    with server.probed() as health, client(server.grpc) as peer, server.bounded(32 * MIB, cpu=10):
        peer.send(before)
        flood(peer, pieces)
    server.check_right()
    health.check()
    server.check_log()
