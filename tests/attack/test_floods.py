"""Floods of small frames on one HTTP/2 connection: each client has a budget of work, and others have their turn."""

from __future__ import annotations

import contextlib
import select
import time

import pytest

from tests.attack.attacked import MIB, Attacked
from tests.attack.http2 import INFER, Http2Client, call, client, headers, priority
from tests.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    PRIORITY,
    frame,
    reset,
    settings,
    window_update,
)

SECONDS = 1.5  # of each flood
BAR = 0.1
"""Seconds for a reply of health, where the server goes on to listen to the flood."""
AHEAD = 65_536  # bytes that are sent at a time


def flood(peer: Http2Client, pieces: bytes, most: int) -> None:
    """Sends the same again and again, and reads what comes, until the time is over or the server has had enough."""
    deadline = time.monotonic() + SECONDS
    chunk = pieces * max(1, AHEAD // len(pieces))
    left = memoryview(chunk)
    peer.sock.setblocking(False)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while most > 0 and time.monotonic() < deadline:
            readable, writable, _ = select.select([peer.sock], [peer.sock], [], 0.1)
            if readable:
                received = peer.sock.recv(1 << 20)
                if not received:
                    break
                peer.buffer += received
            if writable:
                count = peer.sock.send(left)
                most, left = most - count, left[count:] or memoryview(chunk)
    peer.sock.settimeout(10)
    peer.send(bytes(left))  # no frame is left half sent


def late(block: bytes) -> bytes:
    """Headers of a stream that has gone, which must still be decoded."""
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, block)


ONE_STREAM, GONE = headers(1, INFER), call(1, "/no/such")
MANY_STREAMS = b"".join(headers(2 * i + 1, INFER) for i in range(1000))
TODAY = pytest.mark.xfail(strict=True, reason="this work is not counted")
FLOODS = {
    "window updates of the connection": (b"", window_update(0, 1), True),
    "window updates of a stream": (ONE_STREAM, window_update(1, 1), True),
    "window updates of a stream that has gone": (GONE, window_update(1, 1), True),
    "settings": (b"", settings(), False),
    "settings of many entries": (b"", settings(*[(0xF000, i) for i in range(170_000)]), True),
    "settings of many streams": (MANY_STREAMS, settings((INITIAL_WINDOW_SIZE, 65_535)) + settings((INITIAL_WINDOW_SIZE, 65_536)), False),
    "fields that churn through the table": (GONE, late(b"\x41\x00" * 1500), True),
    "fields of the table": (GONE, late(b"\x82" * 1500), True),
    "pings": (b"", frame(PING, 0, 0, bytes(8)), False),
    "priorities": (b"", frame(PRIORITY, 0, 1, priority(0)), False),
    "unknown frames": (b"", frame(0x42), False),
    "unknown frames that are large": (b"", frame(0x42, 0, 0, bytes(16_384)), False),
    "empty data": (ONE_STREAM, frame(DATA, 0, 1), False),
    "padding": (ONE_STREAM, frame(DATA, PADDED, 1, b"\xff" + bytes(255)), False),
    "resets of a stream that has gone": (GONE, reset(1), False),
    "continuations": (frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1), False),
    "data of a stream that has gone": (GONE, frame(DATA, 0, 1, b"x"), False),
}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "pieces"),
    [pytest.param(one, many, id=name, marks=[TODAY] if fails else []) for name, (one, many, fails) in FLOODS.items()],
)
def test_frames_that_cost_work(server: Attacked, before: bytes, pieces: bytes) -> None:
    most = MIB if len(before) == len(GONE) and len(pieces) > 1000 else 64 * MIB  # what must be decoded costs the most
    with server.probed() as health, client(server.grpc) as peer, server.bounded(32 * MIB, cpu=10):
        peer.send(before)
        flood(peer, pieces, most)
        ended = peer.outcome(1).startswith(("connection:", "closed"))
    assert ended or health.p99 < BAR, f"goes on, and health takes {health.p99:.2f} s"
    server.check_right()
    server.check_log()
