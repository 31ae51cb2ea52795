"""Floods of small frames on one HTTP/2 connection: each client has a budget of work, and others have their turn."""

from __future__ import annotations

import contextlib
import os
import select
import time

import pytest

from tests.attack.attacked import MIB, Attacked
from tests.attack.http2 import INFER, Http2Client, block, client, fields, headers, priority
from tests.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
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

SECONDS = float(os.environ.get("ATTACK_SECONDS", "1.5"))  # of each attack, by one connection after the other
MAX_SECONDS = 1.5  # until the server has had enough of one of them, on a busy machine
AHEAD = 65_536  # bytes that are sent at a time


def flood(peer: Http2Client, pieces: bytes, most: int) -> None:
    """Sends the same again and again, and reads what comes, until the time is over or the server has had enough."""
    deadline = time.monotonic() + MAX_SECONDS
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


def opened(stream: int, *more: bytes) -> bytes:
    """A call that is refused before it has been sent, so that more of it may be on its way."""
    return frame(HEADERS, END_HEADERS, stream, block(fields("/no/such")) + b"".join(more))


def late(encoded: bytes) -> bytes:
    """Headers of a stream that has gone, which must still be decoded."""
    return frame(HEADERS, END_HEADERS, 1, encoded)


ONE_STREAM, GONE = headers(1, INFER), opened(1)
MANY_STREAMS = b"".join(headers(2 * i + 1, INFER) for i in range(1000))
CHURN = b"\x41\x00" * 700  # fields that enter the table, and drive out others
FLOODS = {
    "window updates of the connection": (b"", window_update(0, 1)),
    "window updates of a stream": (ONE_STREAM, window_update(1, 1)),
    "window updates of a stream that has gone": (GONE, window_update(1, 1)),
    "settings": (b"", settings()),
    "settings of many entries": (b"", settings(*[(0xF000, i) for i in range(170_000)])),
    "settings of many streams": (MANY_STREAMS, settings((INITIAL_WINDOW_SIZE, 65_534)) + settings((INITIAL_WINDOW_SIZE, 65_536))),
    "windows of many streams": (MANY_STREAMS, b"".join(window_update(2 * i + 1, 1) for i in range(1000))),
    "fields that churn through the table": (GONE, late(CHURN)),
    "fields of the table": (GONE, late(b"\x82" * 700)),
    "fields that are Huffman coded": (GONE, late(b"\x00\x01x\x7f\x81\x1f".replace(b"\x7f", b"\xff") + b"\x1f" * 4096)),
    "calls whose fields churn through the table": (b"", b"".join(opened(2 * i + 1, CHURN) for i in range(2000))),
    "pings": (b"", frame(PING, 0, 0, bytes(8))),
    "priorities": (b"", frame(PRIORITY, 0, 1, priority(0))),
    "unknown frames": (b"", frame(0x42)),
    "unknown frames that are large": (b"", frame(0x42, 0, 0, bytes(16_384))),
    "empty data": (ONE_STREAM, frame(DATA, 0, 1)),
    "data of one byte": (headers(1, INFER) + frame(DATA, 0, 1, b"\0\0\xff\xff\xff"), frame(DATA, 0, 1, b"x")),
    "padding": (ONE_STREAM, frame(DATA, PADDED, 1, b"\xff" + bytes(255))),
    "rapid resets": (b"", b"".join(headers(2 * i + 1, INFER) + reset(2 * i + 1) for i in range(20_000))),
    "resets of a stream that has gone": (GONE, reset(1)),
    "continuations": (frame(HEADERS, 0, 1), frame(CONTINUATION, 0, 1)),
    "data of a stream that has gone": (GONE, frame(DATA, 0, 1, b"x")),
    "data of a stream that the client has reset": (ONE_STREAM + reset(1), frame(DATA, 0, 1, b"x")),
}  # fmt: skip


@pytest.mark.parametrize(("before", "pieces"), FLOODS.values(), ids=FLOODS)
def test_frames_that_cost_work(server: Attacked, before: bytes, pieces: bytes) -> None:
    """They end their connection, and health is answered within its bar until then; also when the client comes again."""
    end = time.monotonic() + SECONDS
    with server.probed() as health:
        with server.bounded(32 * MIB, cpu=5):
            flood_once(server, before, pieces)
        while time.monotonic() < end:
            flood_once(server, before, pieces)
    health.check()
    server.check_correct()
    server.check_log()


def flood_once(server: Attacked, before: bytes, pieces: bytes) -> None:
    with client(server.grpc) as peer:
        peer.send(before)
        flood(peer, pieces, 64 * MIB)
        assert peer.outcome(1) == "connection:ENHANCE_YOUR_CALM"
