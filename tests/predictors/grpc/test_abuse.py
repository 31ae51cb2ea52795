"""Faults and floods end the connection that they come from, and no other."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import pytest

from predictors.grpc.transport.work import ANSWER, MAX_BUDGET, RESET, SMALL_FRAME
from predictors.protocol.grpc_status import GrpcStatus
from tests.http2_frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    reset,
    settings,
    window_update,
)
from tests.predictors.grpc.serving import SECONDS, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, call, lives, plain
from tests.serving import wait_for

# -- faults that end the connection -----------------------------------------------------------------------------------


OPEN = frame(HEADERS, END_HEADERS, 5, plain("/t/Wait"))
BAD_HEADERS = b"\xff\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(struct.pack(">I", 2**20 + 1)[1:] + b"\0\0\0\0\0\1", FRAME_SIZE_ERROR, id="a frame too long"),
        pytest.param(frame(HEADERS, 0, 1, b"") + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR, id="headers interrupted"),
        pytest.param(
            frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 4, 3, b""), PROTOCOL_ERROR, id="headers of another stream"
        ),
        pytest.param(frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL_ERROR, id="a continuation of nothing"),
        pytest.param(frame(HEADERS, END_HEADERS, 0, plain("/t/Echo")), PROTOCOL_ERROR, id="headers on stream 0"),
        pytest.param(frame(HEADERS, END_HEADERS, 2, plain("/t/Echo")), PROTOCOL_ERROR, id="an even number"),
        pytest.param(OPEN + frame(HEADERS, END_HEADERS, 3, plain("/t/Echo")), PROTOCOL_ERROR, id="a falling number"),
        pytest.param(frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05abc"), PROTOCOL_ERROR, id="padding beyond the end"),
        pytest.param(frame(HEADERS, END_HEADERS | PADDED, 1, b""), FRAME_SIZE_ERROR, id="padding of no length"),
        pytest.param(frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"abc"), FRAME_SIZE_ERROR, id="priority cut off"),
        pytest.param(frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR, id="data on stream 0"),
        pytest.param(frame(DATA, 0, 7, b"x"), PROTOCOL_ERROR, id="data of an idle stream"),
        pytest.param(OPEN + frame(DATA, PADDED, 5, b"\x02\0"), PROTOCOL_ERROR, id="data padded beyond the end"),
        pytest.param(frame(HEADERS, END_HEADERS, 1, BAD_HEADERS), COMPRESSION_ERROR, id="garbage for HPACK"),
        pytest.param(frame(HEADERS, END_HEADERS, 1, b"\xff\x20"), COMPRESSION_ERROR, id="no such entry"),
        pytest.param(frame(HEADERS, END_HEADERS, 1, b"\x00\x05ab"), COMPRESSION_ERROR, id="a name cut off"),
        pytest.param(frame(HEADERS, END_HEADERS, 1, b"\x3f\xe2\x1f"), COMPRESSION_ERROR, id="a table too large"),
        pytest.param(frame(RST_STREAM, 0, 0, bytes(4)), PROTOCOL_ERROR, id="a reset of stream 0"),
        pytest.param(frame(RST_STREAM, 0, 9, bytes(4)), PROTOCOL_ERROR, id="a reset of an idle stream"),
        pytest.param(OPEN + frame(RST_STREAM, 0, 5, bytes(3)), FRAME_SIZE_ERROR, id="a short reset"),
        pytest.param(frame(SETTINGS, 0, 1, b""), PROTOCOL_ERROR, id="settings of a stream"),
        pytest.param(frame(SETTINGS, 0, 0, b"x"), FRAME_SIZE_ERROR, id="settings cut off"),
        pytest.param(frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR, id="acknowledged settings with settings"),
        pytest.param(settings((INITIAL_WINDOW_SIZE, 2**31)), FLOW_CONTROL_ERROR, id="too large a first window"),
        pytest.param(settings((MAX_FRAME_SIZE, 100)), PROTOCOL_ERROR, id="too small frames"),
        pytest.param(settings((MAX_FRAME_SIZE, 2**24)), PROTOCOL_ERROR, id="too large frames"),
        pytest.param(settings((2, 2)), PROTOCOL_ERROR, id="push neither on nor off"),
        pytest.param(
            OPEN + window_update(5, 2**31 - 65_536) + settings((INITIAL_WINDOW_SIZE, 65_536)), FLOW_CONTROL_ERROR,
            id="settings overflow a window",
        ),
        pytest.param(frame(PUSH_PROMISE, 0, 1, bytes(4)), PROTOCOL_ERROR, id="a push"),
        pytest.param(frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR, id="a short ping"),
        pytest.param(frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR, id="a ping of a stream"),
        pytest.param(window_update(0, 0), PROTOCOL_ERROR, id="a window update of nothing"),
        pytest.param(window_update(0, 2**31 - 1), FLOW_CONTROL_ERROR, id="the window overflows"),
        pytest.param(window_update(7, 1), PROTOCOL_ERROR, id="a window of an idle stream"),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR, id="a short window update"),
    ],
)  # fmt: skip
def test_faults(wire: Http2Wire, peer: Http2Peer, sent: bytes, code: int) -> None:
    peer.send(sent)
    assert peer.goaway() == code
    lives(wire)


def test_data_after_the_end(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.send(call(1, "/t/Wait") + frame(DATA, 0, 1, b"more"))
    assert peer.reply(1).reset == STREAM_CLOSED
    wait_for(lambda: not wire.server.tasks, seconds=SECONDS)


def test_headers_in_the_middle(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Wait")) + frame(HEADERS, END_HEADERS, 1, b"\x00\x01x\x01y"))
    assert peer.reply(1).reset == PROTOCOL_ERROR
    peer.send(call(3))
    assert peer.reply(3).message == b"hello"


def test_trailers_for_a_call_that_has_ended(peer: Http2Peer) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Nothing")))
    assert peer.reply(1).status == GrpcStatus.UNIMPLEMENTED
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01x\x01y"))
    peer.send(call(3))
    assert peer.reply(3).message == b"hello"


# -- floods -----------------------------------------------------------------------------------------------------------

FRAMES = MAX_BUDGET // SMALL_FRAME + 10_000  # more than time gives back meanwhile
MANY_STREAMS = b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, plain("/t/Wait")) for i in range(1000))


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frame(PING, 0, 0, bytes(8)), id="pings"),
        pytest.param(frame(PING, ACK, 0, bytes(8)), id="answers to pings"),
        pytest.param(settings(), id="settings"),
        pytest.param(frame(SETTINGS, ACK, 0), id="answers to settings"),
        pytest.param(frame(DATA, 0, 1), id="empty data"),
        pytest.param(frame(DATA, PADDED, 1, b"\x01\0"), id="padding"),
        pytest.param(frame(PRIORITY, 0, 1, bytes(5)), id="priorities"),
        pytest.param(frame(0xFA, 0, 0), id="unknown frames"),
        pytest.param(frame(GOAWAY, 0, 0, bytes(8)), id="goodbyes"),
    ],
)
def test_floods(wire: Http2Wire, peer: Http2Peer, sent: bytes) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Wait")))
    assert peer.flood(sent, FRAMES) == ENHANCE_YOUR_CALM
    lives(wire)


def test_empty_data_of_a_call_that_has_ended(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Nothing")))
    assert peer.flood(frame(DATA, 0, 1), FRAMES) == ENHANCE_YOUR_CALM


def test_rapid_resets(wire: Http2Wire, peer: Http2Peer) -> None:
    block = plain("/t/Wait")
    peer.send(
        b"".join(
            frame(HEADERS, END_HEADERS, 2 * i + 1, block) + reset(2 * i + 1) for i in range(MAX_BUDGET // RESET + 500)
        )
    )
    assert peer.goaway() == ENHANCE_YOUR_CALM
    lives(wire)


def test_pings_over_days_are_no_flood(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.round_trip()
    for _ in range(4):
        peer.send(frame(PING, 0, 0, bytes(8)) * (FRAMES // 2))
        peer.round_trip()
        for connection in list(wire.server.connections):
            connection.budget.grown_at -= 60.0
    peer.send(call(1))
    assert peer.reply(1).message == b"hello"


def test_answers_pay_for_other_frames(wire: Http2Wire, peer: Http2Peer) -> None:
    """Twice as many pings as without them."""
    pings = frame(PING, 0, 0, bytes(8)) * (ANSWER // SMALL_FRAME)
    for i in range(2 * MAX_BUDGET // ANSWER):
        peer.send(pings + call(2 * i + 1))
        assert peer.reply(2 * i + 1).message == b"hello"
    assert peer.flood(pings, MAX_BUDGET // ANSWER + 20) == ENHANCE_YOUR_CALM


def test_settings_are_counted_by_entry(wire: Http2Wire, peer: Http2Peer) -> None:
    started = wire.run(time.thread_time)
    peer.send(settings(*[(0xF000, i) for i in range(MAX_BUDGET + 1)]))
    assert peer.goaway() == ENHANCE_YOUR_CALM
    assert wire.run(time.thread_time) - started < 0.1


def test_windows_that_change_are_counted_by_stream(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.send(MANY_STREAMS)
    peer.round_trip()
    both = settings((INITIAL_WINDOW_SIZE, 65_536)) + settings((INITIAL_WINDOW_SIZE, 65_535))
    assert peer.flood(both, MAX_BUDGET // 400) == ENHANCE_YOUR_CALM
    lives(wire)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda stream: window_update(stream, 0), id="an increment of 0"),
        pytest.param(lambda stream: frame(PRIORITY, 0, stream, struct.pack(">IB", stream, 0)), id="a priority over itself"),
        pytest.param(lambda stream: frame(HEADERS, END_HEADERS, stream, b"\x00\x01x\x01y"), id="headers in the middle"),
    ],
)  # fmt: skip
def test_calls_that_the_client_has_the_server_reset(
    wire: Http2Wire, peer: Http2Peer, fault: Callable[[int], bytes]
) -> None:
    """They cost as much as those that it resets itself."""
    block = plain("/t/Wait")
    streams = range(1, 2 * (MAX_BUDGET // RESET + 500), 2)
    peer.send(b"".join(frame(HEADERS, END_HEADERS, stream, block) + fault(stream) for stream in streams))
    assert peer.goaway() == ENHANCE_YOUR_CALM
    lives(wire)


def test_windows_of_one_byte(wire: Http2Wire) -> None:
    """A large reply that is taken byte by byte."""
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 0)) as peer:
        peer.send(call(1, "/t/Big", b"1000000"))
        assert peer.flood(window_update(1, 1), FRAMES) == ENHANCE_YOUR_CALM
    lives(wire)


def test_headers_that_cost_more_than_their_call(wire: Http2Wire, peer: Http2Peer) -> None:
    churn = b"\x41\x00" * 700
    calls = [
        frame(HEADERS, END_HEADERS, 2 * i + 1, plain("/t/Nothing") + churn) + frame(DATA, END_STREAM, 2 * i + 1)
        for i in range(200)
    ]
    peer.send(b"".join(calls))
    assert peer.goaway() == ENHANCE_YOUR_CALM
    lives(wire)


# -- turns ------------------------------------------------------------------------------------------------------------


def test_others_have_their_turn(wire: Http2Wire, peer: Http2Peer) -> None:
    """Calls of one connection are answered before all that came at once on another."""
    many = b"".join(call(2 * i + 1, "/t/Quick") for i in range(1000))
    with Http2Peer(wire.address) as other:
        other.round_trip()
        peer.round_trip()
        order: list[int] = []

        def both() -> None:
            first, second = sorted(wire.server.connections, key=lambda one: one.transport.get_extra_info("peername")[1])
            busy, idle = (first, second) if ports[0] < ports[1] else (second, first)
            wire.loop.call_soon(lambda: order.append(busy.last))
            busy.data_received(many)
            idle.data_received(call(1, "/t/Quick"))

        ports = peer.sock.getsockname()[1], other.sock.getsockname()[1]
        wire.run(both)
        assert other.reply(1).message == b"hello"
        assert all(peer.reply(2 * i + 1).message == b"hello" for i in range(1000))
        assert order[0] < 500


def test_frames_in_many_turns_keep_their_order(wire: Http2Wire, peer: Http2Peer) -> None:
    """Also what comes in crumbs while earlier frames wait for their turn."""
    sent = b"".join(call(2 * i + 1, "/t/Quick", str(i).encode()) + window_update(0, 1) for i in range(3000))
    for at in range(0, len(sent), 50_001):
        peer.send(sent[at : at + 50_001])
    assert [int(peer.reply(2 * i + 1).message) for i in range(3000)] == list(range(3000))
