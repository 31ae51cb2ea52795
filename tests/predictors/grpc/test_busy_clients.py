"""Honest clients that are as busy as can be never exhaust the budget of their connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from predictors.grpc.transport.connection import Http2Connection
from predictors.grpc.transport.work import MAX_BUDGET
from tests.http2_frames import DATA, INITIAL_WINDOW_SIZE, PING, frame, window_update
from tests.predictors.grpc.serving import SECONDS, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, call

MB = 10**6


@pytest.fixture
def channel(wire: Http2Wire) -> Iterator[grpc.Channel]:
    """A client that takes little at a time, and tells the server so again and again."""
    options = [
        ("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 16_384),
    ]  # fmt: skip
    with grpc.insecure_channel(wire.target, options) as connected:
        grpc.channel_ready_future(connected).result(SECONDS)
        (before,) = wire.server.connections
        yield connected
        assert list(wire.server.connections) == [before]
        check_budget(before)


def check_budget(connection: Http2Connection) -> None:
    """Most of it is left."""
    assert connection.budget.left + connection.budget.earned > MAX_BUDGET / 2


def test_many_calls_with_headers_of_their_own(channel: grpc.Channel) -> None:
    stub = channel.unary_unary("/t/Quick")
    waiting: deque[Any] = deque()
    for i in range(10_000):
        metadata = (("x-request-id", f"request-{i}"), ("x-session", "s" * 200 + str(i)), ("x-more", str(i * i)))
        waiting.append(stub.future(str(i).encode(), metadata=metadata, timeout=60))
        if len(waiting) > 500:
            waiting.popleft().result()
    for one in waiting:
        one.result()


def test_large_replies(channel: grpc.Channel) -> None:
    stub = channel.unary_unary("/t/Big")
    for future in [stub.future(str(10 * MB).encode(), timeout=60) for _ in range(10)]:
        assert len(future.result()) == 10 * MB


def test_streams_of_small_messages(channel: grpc.Channel) -> None:
    messages = [str(i).encode() for i in range(5000)]
    assert list(channel.stream_stream("/t/Chat")(iter(messages), timeout=60)) == messages


def test_streams_of_large_messages(channel: grpc.Channel) -> None:
    messages = [bytes(MB)] * 50
    assert list(channel.stream_stream("/t/Chat")(iter(messages), timeout=60)) == messages


def test_calls_that_are_cancelled_beside_some_that_are_answered(wire: Http2Wire, channel: grpc.Channel) -> None:
    answered, cancelled = channel.unary_unary("/t/Quick"), channel.unary_unary("/t/Wait")
    for _ in range(400):
        for future in [cancelled.future(b"") for _ in range(10)]:
            future.cancel()
        assert answered(b"hello", timeout=SECONDS) == b"hello"


def test_a_client_that_confirms_everything(wire: Http2Wire) -> None:
    """Two window updates for each frame, however small, and a ping for each call."""
    with Http2Peer(wire.address, (INITIAL_WINDOW_SIZE, 1000)) as peer:
        for i in range(3000):
            stream, size = 2 * i + 1, (10, 3000)[i % 2]
            peer.send(call(stream, "/t/Big", str(size).encode()) + frame(PING, 0, 0, bytes(8)))
            while not peer.replies[stream].done:
                received = peer.read()
                assert received is not None
                if received.kind == DATA and received.payload:
                    size = len(received.payload)
                    peer.send(window_update(0, size) + window_update(stream, size))
            assert peer.replies[stream].ended
        (connection,) = wire.server.connections
        check_budget(connection)
