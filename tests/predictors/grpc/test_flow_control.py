"""Flow control in both directions, and the bytes that one connection may hold."""

from __future__ import annotations

import struct

import pytest

from predictors.grpc.transport import connection as connection_module
from predictors.protocol.grpc_status import GrpcStatus
from tests.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PROTOCOL_ERROR,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    packed,
    reset,
    settings,
    window_update,
)
from tests.predictors.grpc.serving import MAX_MESSAGE, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, call, plain


def test_tiny_windows(wire: Http2Wire) -> None:
    message = bytes(range(100))
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 10)) as peer:
        peer.send(call(1, message=message))
        peer.until(lambda: peer.replies[1].pieces)
        peer.round_trip()
        assert (peer.replies[1].pieces, peer.replies[1].done) == ([10], False)
        peer.send(window_update(1, 7))
        peer.round_trip()
        assert peer.replies[1].pieces == [10, 7]
        peer.send(settings((INITIAL_WINDOW_SIZE, 30)))
        peer.round_trip()
        assert peer.replies[1].pieces == [10, 7, 20]
        peer.send(settings((INITIAL_WINDOW_SIZE, 5)))  # the window of the stream is now -25
        peer.send(window_update(1, 25))
        peer.round_trip()
        assert peer.replies[1].pieces == [10, 7, 20]
        peer.send(window_update(1, 1000))
        assert peer.reply(1).message == message
        assert peer.replies[1].pieces == [10, 7, 20, 68]


def test_window_of_the_connection(wire: Http2Wire) -> None:
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 2**31 - 1), (MAX_FRAME_SIZE, 2**20)) as peer:
        peer.send(call(1, "/t/Big", b"100000") + call(3, "/t/Echo"))
        peer.until(lambda: sum(peer.replies[1].pieces) + sum(peer.replies[3].pieces) >= 65_535)
        peer.round_trip()
        assert sum(peer.replies[1].pieces) + sum(peer.replies[3].pieces) == 65_535
        peer.send(window_update(0, 1))
        peer.round_trip()
        assert sum(peer.replies[1].pieces) + sum(peer.replies[3].pieces) == 65_536
        peer.send(window_update(0, 100_000))
        assert (peer.reply(1).message, peer.reply(3).message) == (bytes(100_000), b"hello")


def test_frames_are_no_larger_than_the_peer_takes(wire: Http2Wire) -> None:
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 10**6)) as peer:
        peer.send(window_update(0, 10**6) + call(1, "/t/Big", b"100000"))
        assert len(peer.reply(1).message) == 100_000
        assert max(peer.replies[1].pieces) == 16_384


def test_a_stream_that_waits_does_not_keep_others(wire: Http2Wire) -> None:
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 3)) as peer:
        peer.send(call(1) + call(3))
        peer.send(window_update(3, 100))
        assert peer.reply(3).message == b"hello"
        assert not peer.replies[1].done
        peer.send(reset(1))
        peer.round_trip()
        assert wire.run(lambda: [len(one.streams) for one in wire.server.connections]) == [0]


@pytest.mark.parametrize(("size", "code"), [(2**31 - 1, FLOW_CONTROL_ERROR), (0, PROTOCOL_ERROR)])
def test_window_of_a_stream_overflows(wire: Http2Wire, peer: Http2Peer, size: int, code: int) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Wait")) + window_update(1, size))
    assert peer.reply(1).reset == code
    peer.send(call(3))
    assert peer.reply(3).message == b"hello"


def allowed(peer: Http2Peer) -> int:
    """How much more of its streams a peer may send than in the beginning."""
    return sum(int.from_bytes(one.payload, "big") for one in peer.frames if one.kind == WINDOW_UPDATE and one.stream)


def test_a_stream_may_send_more_than_a_window(wire: Http2Wire, peer: Http2Peer) -> None:
    """Twice the window, as far as the server allows."""
    window = dict(struct.iter_unpack(">HI", peer.first(SETTINGS).payload))[INITIAL_WINDOW_SIZE]
    message = packed(bytes(2**19))
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Chat")) + settings((INITIAL_WINDOW_SIZE, 2**31 - 1)))
    peer.send(window_update(0, 2**31 - 65_536))
    times = 2 * window // len(message)
    for _ in range(times):
        peer.send(frame(DATA, 0, 1, message))
        peer.until(lambda: len(peer.replies[1].data) == len(message))
        peer.replies[1].data.clear()
    assert allowed(peer) > times * len(message) - 40_000
    peer.send(frame(DATA, END_STREAM, 1))
    assert peer.reply(1).status == GrpcStatus.OK


@pytest.mark.parametrize("path", ["/t/Deaf", "/t/Wait"])
def test_windows_are_enforced(wire: Http2Wire, peer: Http2Peer, path: str) -> None:
    """What is not read is not kept beyond the window, not even from a peer that breaks the rules."""
    size = MAX_MESSAGE
    peer.send(frame(HEADERS, END_HEADERS, 1, plain(path)) + frame(DATA, 0, 1, struct.pack(">BI", 0, size)))
    for _ in range(size // 2**20 - 1):
        peer.send(frame(DATA, 0, 1, bytes(2**20)))
    peer.round_trip()
    assert peer.replies[1].reset is None
    for _ in range(3):
        peer.send(frame(DATA, PADDED, 1, b"\x00" + bytes(2**20 - 1)))
    reply = peer.reply(1)
    assert reply.reset == FLOW_CONTROL_ERROR or reply.status == GrpcStatus.UNIMPLEMENTED


def test_padding_does_not_use_up_the_window(peer: Http2Peer) -> None:
    """A message as large as may be, of which each frame has its padding."""
    message = packed(bytes(MAX_MESSAGE))
    window = dict(struct.iter_unpack(">HI", peer.first(SETTINGS).payload))[INITIAL_WINDOW_SIZE]
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Metadata")))
    sent = 0
    for at in range(0, len(message), 16_000):
        part = b"\xff" + message[at : at + 16_000] + bytes(255)
        sent += len(part)
        peer.until(lambda: sent <= window + allowed(peer))  # noqa: B023  # called at once
        peer.send(frame(DATA, PADDED, 1, part))
    peer.send(frame(DATA, END_STREAM, 1))
    assert peer.reply(1).message == b"()"


@pytest.fixture
def little_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_HELD", 0)  # so four windows


@pytest.mark.usefixtures("little_held")
def test_bytes_of_a_connection_are_bounded(wire: Http2Wire, peer: Http2Peer) -> None:
    """Many large requests that never end."""
    part = bytes(2**20)
    for i in range(8):
        stream = 2 * i + 1
        peer.send(frame(HEADERS, END_HEADERS, stream, plain("/t/Echo")))
        peer.send(frame(DATA, 0, stream, struct.pack(">BI", 0, MAX_MESSAGE)))
        for _ in range(MAX_MESSAGE // 2**20 - 1):
            peer.send(frame(DATA, 0, stream, part))
    peer.round_trip()
    refused = [stream for stream, reply in peer.replies.items() if reply.reset == ENHANCE_YOUR_CALM]
    assert 3 <= len(refused) <= 5
    open_now = [2 * i + 1 for i in range(8) if 2 * i + 1 not in refused]
    peer.send(b"".join(reset(stream) for stream in open_now) + call(101))
    assert peer.reply(101).message == b"hello"
    assert wire.run(lambda: [one.held for one in wire.server.connections]) == [0]
