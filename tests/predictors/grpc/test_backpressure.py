"""Clients that do not read their answers."""

from __future__ import annotations

import asyncio
import select
from typing import Any

import pytest

from predictors.grpc.transport import connection as connection_module
from predictors.grpc.transport.connection import Http2Connection
from predictors.queueing.slow_clients import MAX_STALL
from tests.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    frame,
    packed,
    window_update,
)
from tests.predictors.grpc.serving import SECONDS, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, Nowhere, Seen, call, lives, plain
from tests.serving import wait_for


def sent_unread(peer: Http2Peer, data: bytes) -> int:
    """As many bytes as the server takes while nothing of its answers is read."""
    left = memoryview(data)
    peer.sock.setblocking(False)
    while left:
        _, writable, _ = select.select([], [peer.sock], [], 0.3)
        if not writable:
            break
        left = left[peer.sock.send(left) :]
    peer.sock.settimeout(SECONDS)
    return len(data) - len(left)


def kept(wire: Http2Wire) -> int:
    """Bytes of answers that the server keeps, for all connections, once it has done all that it will."""

    def counted() -> int:
        total = 0
        for one in wire.server.connections:
            total += one.transport.get_write_buffer_size() + sum(map(len, one.out))
            total += sum(len(data) for stream in one.streams.values() for data, _ in stream.waiting)
        return total

    async def turns() -> None:
        for _ in range(5000):
            await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(turns(), wire.loop).result(SECONDS)
    return int(wire.run(counted))


def test_calls_whose_answers_are_not_read(wire: Http2Wire) -> None:
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 2**31 - 1), (MAX_FRAME_SIZE, 2**20)) as peer:
        peer.send(window_update(0, 2**31 - 65_536))
        calls = [call(2 * i + 1, "/t/Big", b"20000", ("x", "y" * 1000)) for i in range(30_000)]
        data = b"".join(calls)
        sent = sent_unread(peer, data)
        assert sent < len(data)
        assert kept(wire) < 60 * 2**20  # of six hundred megabytes
        lives(wire)
        whole = sent // len(calls[0])
        peer.sock.setblocking(True)
        peer.until(lambda: peer.replies[2 * whole - 1].done)
        replies = [peer.reply(2 * i + 1) for i in range(whole)]
        answered = [one for one in replies if one.ended]
        assert len(answered) >= 1024  # the rest came while so many waited
        assert all(one.message == bytes(20_000) for one in answered)
        assert all(one.reset == REFUSED_STREAM for one in replies if not one.ended)


def test_messages_whose_answers_are_not_read(wire: Http2Wire) -> None:
    """Neither on the wire nor behind a window that never opens."""
    said = frame(DATA, 0, 1, packed(bytes(10_000)) * 100)
    for window in (0, 2**31 - 1):
        with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, window), room=65_536) as peer:
            peer.send(window_update(0, 2**31 - 65_536) + frame(HEADERS, END_HEADERS, 1, plain("/t/Chat")))
            whole = sent_unread(peer, said * 11) // len(said)
            if window:
                wait_for(lambda: any(one.paused for one in wire.server.connections), seconds=SECONDS)
            assert kept(wire) < 3 * 2**20
            if window:
                peer.until(lambda: len(peer.replies[1].data) >= whole * 100 * 10_005)  # noqa: B023  # called at once
    lives(wire)


def test_who_takes_nothing_is_hung_up_on(wire: Http2Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_STALL", 0.1)
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 2**31 - 1)) as peer:
        peer.first(SETTINGS, ACK)
        peer.send(window_update(0, 2**31 - 65_536) + call(1, "/t/Big", b"30000000"))
        wait_for(lambda: any(one.paused for one in wire.server.connections), seconds=SECONDS)
        wait_for(lambda: not wire.server.connections, seconds=SECONDS)


def test_who_takes_little_is_waited_for() -> None:
    async def run() -> list[bool]:
        transport = Nowhere()
        connection = Http2Connection(Seen, set(), 2**20)
        connection.connection_made(transport)  # type: ignore[arg-type]  # only what a connection asks of one
        connection.data_received(PREFACE)
        transport.left = 100
        connection.pause_writing()
        closed = []
        for checks, left in enumerate((100, 99, 50, 50)):
            transport.left = left
            connection.close_if_slow(checks * (MAX_STALL + 1), 0)
            closed.append(transport.closed)
        connection.connection_lost(None)
        return closed

    assert asyncio.run(run()) == [False, False, False, True]


def test_a_fault_of_a_client_that_does_not_read(wire: Http2Wire) -> None:
    """It does not even take the last words."""
    failures: list[Any] = []
    wire.run(lambda: wire.loop.set_exception_handler(lambda _, context: failures.append(context)))
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 2**31 - 1)) as peer:
        peer.first(SETTINGS, ACK)
        big = call(1, "/t/Big", b"30000000")
        peer.send(window_update(0, 2**31 - 65_536) + big)
        wait_for(lambda: any(one.paused for one in wire.server.connections), seconds=SECONDS)
        (connection,) = wire.server.connections
        wire.run(lambda: connection.fail(PROTOCOL_ERROR, "a fault"))
        wait_for(lambda: not wire.server.connections, seconds=SECONDS)
    wire.run(lambda: wire.loop.set_exception_handler(None))
    assert failures == []
