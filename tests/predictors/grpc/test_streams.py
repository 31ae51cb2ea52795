"""Many streams on one connection, and calls of many messages."""

from __future__ import annotations

import logging
import struct

import pytest

from predictors.protocol.grpc_status import GrpcStatus
from tests.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    REFUSED_STREAM,
    frame,
    packed,
    reset,
    settings,
    window_update,
)
from tests.predictors.grpc.serving import MAX_MESSAGE, SECONDS, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, call, plain
from tests.serving import wait_for

# -- many streams, and their ends -------------------------------------------------------------------------------------


def test_too_many_streams_are_refused_and_the_rest_answered(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.send(b"".join(call(2 * i + 1, "/t/Wait", str(i).encode()) for i in range(1030)))
    for i in range(1024, 1030):
        assert peer.reply(2 * i + 1).reset == REFUSED_STREAM
    wire.soon(wire.service.release.set)
    assert [peer.reply(2 * i + 1).message for i in range(1024)] == [str(i).encode() for i in range(1024)]
    peer.send(call(3001))
    assert peer.reply(3001).message == b"hello"


def test_reset_in_the_middle_of_a_call(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.send(call(1, "/t/Wait") + frame(HEADERS, END_HEADERS, 3, plain("/t/Echo")) + frame(DATA, 0, 3, b"\0\0"))
    wait_for(lambda: wire.service.started, seconds=SECONDS)
    peer.send(reset(1) + reset(3) + frame(DATA, END_STREAM, 3, b"\0\0"))
    wait_for(lambda: wire.service.cancelled == 1, seconds=SECONDS)
    peer.send(call(5))
    assert peer.reply(5).message == b"hello"
    assert not peer.replies[1].headers
    assert not peer.replies[3].headers


# -- streams of messages ----------------------------------------------------------------------------------------------


def test_messages_in_all_shapes(peer: Http2Peer) -> None:
    said = packed(b"one") + packed(b"") + packed(b"three" * 100)
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Chat")))
    peer.send(b"".join(frame(DATA, 0, 1, said[i : i + 1]) for i in range(len(said))))
    peer.until(lambda: peer.replies[1].data == said)
    peer.send(frame(DATA, END_STREAM, 1, said + said))
    reply = peer.reply(1)
    assert (bytes(reply.data), reply.status) == (said * 3, GrpcStatus.OK)


def test_many_small_messages_in_one_frame(peer: Http2Peer) -> None:
    said = packed(b"") * 8000
    peer.send(window_update(0, 10**6) + settings((INITIAL_WINDOW_SIZE, 10**6)))
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Chat")) + frame(DATA, END_STREAM, 1, said))
    assert peer.reply(1).data == said


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (packed(b"two")[:-1], GrpcStatus.INTERNAL),
        (struct.pack(">BI", 0, MAX_MESSAGE + 1), GrpcStatus.RESOURCE_EXHAUSTED),
        (packed(b"two", compressed=True), GrpcStatus.INTERNAL),
    ],
)
def test_streams_that_break(wire: Http2Wire, peer: Http2Peer, last: bytes, status: GrpcStatus) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Chat")) + frame(DATA, 0, 1, packed(b"one")))
    peer.until(lambda: peer.replies[1].data)
    peer.send(frame(DATA, END_STREAM, 1, last))
    reply = peer.reply(1)
    assert (bytes(reply.data), reply.status, len(reply.headers)) == (packed(b"one"), status, 2)
    assert ":status" not in reply.headers[1]
    wait_for(lambda: not wire.server.tasks, seconds=SECONDS)


def test_a_stream_that_fails_in_the_server(wire: Http2Wire, peer: Http2Peer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, "predictors"):
        peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/BrokenChat")) + frame(DATA, 0, 1, packed(b"one")))
        reply = peer.reply(1)
    assert (bytes(reply.data), reply.status) == (packed(b"one"), GrpcStatus.INTERNAL)
    assert ":status" not in reply.headers[1]
    assert "secret" not in str(reply.headers)
