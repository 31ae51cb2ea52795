"""Calls on the wire: their frames in every shape, their messages and their metadata."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest

from predictors.grpc.transport.connection import Http2Connection
from predictors.protocol.grpc_status import GrpcStatus
from tests.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    SETTINGS,
    WITH_PRIORITY,
    frame,
    number,
    packed,
    settings,
)
from tests.predictors.grpc.serving import MAX_MESSAGE, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, Nowhere, Seen, call, plain


def test_split_at_every_byte(wire: Http2Wire) -> None:
    request = call(1)
    for at in range(1, len(request)):
        with Http2Peer(wire.address) as peer:
            peer.send(request[:at])
            if at % 7 == 0:
                peer.first(SETTINGS, ACK)  # the rest comes alone for sure
            peer.send(request[at:])
            assert peer.reply(1).message == b"hello", at


def test_several_calls_in_one_packet(peer: Http2Peer) -> None:
    peer.send(b"".join(call(2 * i + 1, message=f"call {i}".encode()) for i in range(100)))
    assert [peer.reply(2 * i + 1).message for i in range(100)] == [f"call {i}".encode() for i in range(100)]


def test_quick_calls_need_no_task(peer: Http2Peer) -> None:
    peer.send(call(1, "/t/Quick", b"at once") + call(3, "/t/Quick", b"and again"))
    assert (peer.reply(1).message, peer.reply(3).message) == (b"at once", b"and again")
    assert [one.kind for one in peer.frames if one.stream == 1] == [HEADERS, DATA, HEADERS]


def test_a_frame_in_crumbs_costs_no_more() -> None:
    """What has come of a frame must not be copied with each byte that comes."""

    async def run() -> int:
        connection = Http2Connection(Seen, set(), 2**20)
        connection.connection_made(Nowhere())  # type: ignore[arg-type]  # only what a connection asks of one
        whole = (
            PREFACE
            + settings()
            + frame(HEADERS, END_HEADERS, 1, plain("/t/Echo"))
            + frame(DATA, END_STREAM, 1, bytes(2**20))
        )
        for at in range(0, len(whole), 25):
            connection.data_received(whole[at : at + 25])
        connection.connection_lost(None)
        return connection.received

    started = time.thread_time()
    assert asyncio.run(run()) == 2**20
    assert time.thread_time() - started < 0.3


def test_calls_mingle(peer: Http2Peer) -> None:
    first, second = packed(b"first"), packed(b"second")
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Echo")) + frame(HEADERS, END_HEADERS, 3, plain("/t/Echo")))
    peer.send(frame(DATA, 0, 3, second[:4]) + frame(DATA, 0, 1, first[:7]))
    peer.send(frame(DATA, END_STREAM, 3, second[4:]) + frame(DATA, END_STREAM, 1, first[7:]))
    assert (peer.reply(1).message, peer.reply(3).message) == (b"first", b"second")


def test_padding_and_priority(peer: Http2Peer) -> None:
    block = b"\x03" + struct.pack(">IB", 0, 15) + plain("/t/Echo") + b"\0" * 3
    peer.send(frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 1, block))
    peer.send(frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 15)))
    peer.send(frame(DATA, PADDED, 1, b"\x05" + packed(b"hello")[:3] + b"\0" * 5))
    peer.send(frame(DATA, PADDED, 1, b"\x02\0\0"))
    peer.send(frame(DATA, PADDED | END_STREAM, 1, b"\x00" + packed(b"hello")[3:]))
    assert peer.reply(1).message == b"hello"


def test_continuation_and_trailers(peer: Http2Peer) -> None:
    block = plain("/t/Echo", ("x-long", "y" * 300))
    peer.send(frame(HEADERS, 0, 1, block[:10]))
    for at in range(10, len(block), 50):
        last = at + 50 >= len(block)
        peer.send(frame(CONTINUATION, END_HEADERS if last else 0, 1, block[at : at + 50]))
    peer.send(frame(DATA, 0, 1, packed(b"hello")))
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01x\x01y"))
    assert peer.reply(1).message == b"hello"


def test_end_in_a_frame_of_its_own(peer: Http2Peer) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Echo")) + frame(DATA, 0, 1, packed(b"hello")))
    peer.round_trip()
    assert not peer.replies[1].headers
    peer.send(frame(DATA, END_STREAM, 1))
    assert peer.reply(1).message == b"hello"


def test_unknown_frames_and_settings_are_ignored(peer: Http2Peer) -> None:
    peer.send(frame(0xFA, 0xFF, 7, b"whatever") + settings((0xFAFA, 1)) + call(1))
    assert peer.reply(1).message == b"hello"


def test_pings_are_answered(peer: Http2Peer) -> None:
    peer.send(frame(PING, 0, 0, b"12345678") + frame(PING, ACK, 0, b"notasked"))
    peer.send(frame(PING, 0, 0, b"abcdefgh"))
    peer.until(lambda: len([one for one in peer.frames if one.kind == PING]) == 2)
    assert [(one.flags, one.payload) for one in peer.frames if one.kind == PING] == [
        (ACK, b"12345678"),
        (ACK, b"abcdefgh"),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", GrpcStatus.UNIMPLEMENTED),
        (packed(b"one")[:3], GrpcStatus.UNIMPLEMENTED),
        (packed(b"one")[:-1], GrpcStatus.UNIMPLEMENTED),
        (packed(b"one") + packed(b"two"), GrpcStatus.UNIMPLEMENTED),
        (struct.pack(">BI", 0, MAX_MESSAGE + 1), GrpcStatus.RESOURCE_EXHAUSTED),
        (packed(b"one", compressed=True), GrpcStatus.INTERNAL),
    ],
)
def test_not_one_message(peer: Http2Peer, body: bytes, status: GrpcStatus) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Echo")) + frame(DATA, END_STREAM, 1, body))
    reply = peer.reply(1)
    assert (len(reply.headers), reply.status) == (1, status)
    peer.send(call(3))
    assert peer.reply(3).message == b"hello"


def test_more_than_was_announced_is_not_kept(wire: Http2Wire, peer: Http2Peer) -> None:
    """A message that says that it is short, and then never ends."""
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Echo")) + frame(DATA, 0, 1, packed(b"short")))
    peer.send(frame(DATA, 0, 1, bytes(10_000)))
    reply = peer.reply(1)
    assert (reply.status, reply.ended) == (GrpcStatus.UNIMPLEMENTED, True)
    peer.until(lambda: reply.reset == NO_ERROR)
    peer.send(frame(DATA, 0, 1, bytes(10_000)))  # was on its way
    peer.send(call(3))
    assert peer.reply(3).message == b"hello"
    assert wire.run(lambda: [len(one.streams) for one in wire.server.connections]) == [0]


def test_refused_calls_leave_nothing_behind(wire: Http2Wire, peer: Http2Peer) -> None:
    """As many as there may be streams at once, and then a call that must be answered."""
    block = plain("/t/Nothing")
    for i in range(1100):
        peer.send(frame(HEADERS, END_HEADERS, 2 * i + 1, block) + frame(DATA, END_STREAM, 2 * i + 1, packed(b"")))
        assert peer.reply(2 * i + 1).status == GrpcStatus.UNIMPLEMENTED
    peer.send(call(5001))
    assert peer.reply(5001).message == b"hello"
    assert wire.run(lambda: [len(one.streams) for one in wire.server.connections]) == [0]


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc;charset=utf-8", True),
        ("application/grpc-web", False),
        ("application/grpc+json", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_content_types(peer: Http2Peer, kind: str, accepted: bool) -> None:
    block = plain("/t/Echo").replace(
        b"\x0ccontent-type\x10application/grpc", b"\x0ccontent-type" + number(len(kind)) + kind.encode()
    )
    peer.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, packed(b"hello")))
    reply = peer.reply(1)
    assert reply.headers[0][":status"] == ("200" if accepted else "415")


def test_metadata_is_what_the_caller_added(peer: Http2Peer) -> None:
    more = (
        ("user-agent", "x/1"),
        ("grpc-timeout", "5S"),
        ("grpc-trace-bin", "AA"),
        ("x-tenant", "a"),
        ("k-bin", "AAE"),
    )
    peer.send(call(1, "/t/Metadata", b"", *more))
    assert peer.reply(1).message == repr((("user-agent", "x/1"), ("x-tenant", "a"), ("k-bin", "AAE"))).encode()
