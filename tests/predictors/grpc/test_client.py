"""The real gRPC client: compression, sizes, status details, deadlines and cancellation."""

from __future__ import annotations

import gzip
import random
import threading
import time
import zlib
from collections.abc import Iterator

import grpc
import pytest

from predictors.protocol.grpc_status import GrpcStatus
from tests.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame, packed
from tests.predictors.grpc.serving import MAX_MESSAGE, SECONDS, Http2Wire
from tests.predictors.grpc.wire import Http2Peer, call, failed, plain
from tests.serving import wait_for

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
def channel(wire: Http2Wire) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(wire.target, LARGE) as open_channel:
        yield open_channel


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_compressed_requests(channel: grpc.Channel, compression: grpc.Compression) -> None:
    message = b"the same again and again, " * 10_000
    assert channel.unary_unary("/t/Echo")(message, compression=compression, timeout=SECONDS) == message
    chat = channel.stream_stream("/t/Chat")(iter([message, b"", message]), compression=compression, timeout=SECONDS)
    assert list(chat) == [message, b"", message]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_messages_of_many_frames(channel: grpc.Channel, compression: grpc.Compression) -> None:
    """They are gathered in pieces, and can hardly be compressed."""
    message = random.Random(1).randbytes(MAX_MESSAGE - 1000)
    assert channel.unary_unary("/t/Echo")(message, compression=compression, timeout=SECONDS) == message


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", b"garbage", GrpcStatus.INTERNAL),
        ("deflate", b"garbage", GrpcStatus.INTERNAL),
        ("gzip", b"", GrpcStatus.INTERNAL),
        ("gzip", gzip.compress(b"hello" * 100, mtime=0)[:-9], GrpcStatus.INTERNAL),
        ("deflate", zlib.compress(bytes(MAX_MESSAGE + 1)), GrpcStatus.RESOURCE_EXHAUSTED),
        ("identity", b"hello", GrpcStatus.INTERNAL),
        ("snappy", b"hello", GrpcStatus.UNIMPLEMENTED),
    ],
    ids=["gzip", "deflate", "empty", "cut-off", "too-large", "identity", "unknown"],
)
def test_compressed_garbage(peer: Http2Peer, encoding: str, body: bytes, status: GrpcStatus) -> None:
    for stream, path in ((1, "/t/Echo"), (3, "/t/Chat")):
        peer.send(frame(HEADERS, END_HEADERS, stream, plain(path, ("grpc-encoding", encoding))))
        peer.send(frame(DATA, END_STREAM, stream, packed(body, compressed=True)))
        assert peer.reply(stream).status == status
    assert "gzip" in peer.replies[1].headers[0]["grpc-accept-encoding"]


def test_compressed_by_hand(peer: Http2Peer) -> None:
    for stream, encoding, body in ((1, "gzip", gzip.compress(b"hello")), (3, "deflate", zlib.compress(b"hello"))):
        peer.send(frame(HEADERS, END_HEADERS, stream, plain("/t/Echo", ("grpc-encoding", encoding))))
        peer.send(frame(DATA, END_STREAM, stream, packed(body, compressed=True)))
        assert peer.reply(stream).message == b"hello"


def test_large_messages_both_ways(channel: grpc.Channel) -> None:
    message = bytes(range(256)) * 4 * 10 * 1024
    assert len(message) == 10 * 1024**2
    assert channel.unary_unary("/t/Echo")(message, timeout=SECONDS) == message


def test_messages_that_are_too_large(channel: grpc.Channel) -> None:
    code, details = failed(channel, "/t/Echo", bytes(MAX_MESSAGE + 1))
    assert (code, str(MAX_MESSAGE) in details) == ("RESOURCE_EXHAUSTED", True)
    assert channel.unary_unary("/t/Echo")(bytes(MAX_MESSAGE), timeout=SECONDS) == bytes(MAX_MESSAGE)


def test_large_messages_in_small_frames(wire: Http2Wire, peer: Http2Peer) -> None:
    """In the frames of clients that know no larger ones; the time must not grow with the square."""
    message = packed(bytes(MAX_MESSAGE))
    started = wire.run(time.thread_time)
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Metadata")))
    peer.send(b"".join(frame(DATA, 0, 1, message[i : i + 1000]) for i in range(0, len(message), 1000)))
    peer.send(frame(DATA, END_STREAM, 1))
    assert peer.reply(1).message == b"()"
    assert wire.run(time.thread_time) - started < 1


@pytest.mark.parametrize("path", ["/t/Nothing", "/nothing/Echo", "/", "//", "/t/Echo/"])
def test_unknown_methods(channel: grpc.Channel, path: str) -> None:
    assert failed(channel, path, b"hello")[0] == "UNIMPLEMENTED"
    with pytest.raises(grpc.RpcError) as error:
        list(channel.stream_stream(path)(iter([b"a", b"b"]), timeout=SECONDS))
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "words",
    ["größer als 5 % – naïve 漢字 🎈", "two\nlines\r\n\tand \x00 more", "%41 is no A", "x" * 600, "🎈" * 600, "é", ""],
)
def test_details_arrive_whole(channel: grpc.Channel, words: str) -> None:
    assert failed(channel, "/t/Words", words.encode()) == ("INVALID_ARGUMENT", words)


def test_details_that_cannot_be_sent_whole(channel: grpc.Channel) -> None:
    code, details = failed(channel, "/t/Words", b"y" * 100_000)
    assert (code, details[:500]) == ("INVALID_ARGUMENT", "y" * 500)
    code, details = failed(channel, "/t/Words", b"not \xff UTF-8")
    assert (code, details) == ("INVALID_ARGUMENT", "not ? UTF-8")
    assert channel.unary_unary("/t/Echo")(b"hello", timeout=SECONDS) == b"hello"


def test_failures_in_the_server(channel: grpc.Channel, caplog: pytest.LogCaptureFixture) -> None:
    code, details = failed(channel, "/t/Broken")
    assert (code, "secret" in details) == ("INTERNAL", False)
    assert "a secret of the server" in caplog.text
    assert failed(channel, "/t/GivenUp")[0] == "UNAVAILABLE"


def test_deadlines_at_the_client(wire: Http2Wire, channel: grpc.Channel) -> None:
    assert failed(channel, "/t/Wait", timeout=0.1)[0] == "DEADLINE_EXCEEDED"
    wait_for(lambda: wire.service.cancelled == 1, seconds=SECONDS)
    with pytest.raises(grpc.RpcError) as error:
        list(channel.stream_stream("/t/Deaf")(iter([b"a"]), timeout=0.1))
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for(lambda: wire.service.cancelled == 2, seconds=SECONDS)
    assert channel.unary_unary("/t/Echo")(b"hello", timeout=SECONDS) == b"hello"


@pytest.mark.parametrize("timeout", ["50m", "50000u", "1n", "0S"])
def test_deadlines_that_no_client_minds(wire: Http2Wire, peer: Http2Peer, timeout: str) -> None:
    peer.send(call(1, "/t/Wait", b"", ("grpc-timeout", timeout)) + call(3, "/t/Deaf", b"", ("grpc-timeout", timeout)))
    assert peer.reply(1).status == GrpcStatus.DEADLINE_EXCEEDED
    assert peer.reply(3).status == GrpcStatus.DEADLINE_EXCEEDED
    wait_for(lambda: not wire.server.tasks, seconds=SECONDS)


@pytest.mark.parametrize("timeout", ["99999999H", "5", "S", "-1S", "1e3S", ""])
def test_deadlines_that_mean_nothing(peer: Http2Peer, timeout: str) -> None:
    peer.send(call(1, "/t/Echo", b"hello", ("grpc-timeout", timeout)))
    assert peer.reply(1).message == b"hello"


def test_the_client_cancels(wire: Http2Wire, channel: grpc.Channel) -> None:
    futures = [channel.unary_unary("/t/Wait").future(b"") for _ in range(10)]
    wait_for(lambda: len(wire.service.started) == 10, seconds=SECONDS)
    for future in futures:
        future.cancel()
    wait_for(lambda: wire.service.cancelled == 10, seconds=SECONDS)
    assert channel.unary_unary("/t/Echo")(b"hello", timeout=SECONDS) == b"hello"


def test_chat_back_and_forth(channel: grpc.Channel) -> None:
    answers: list[bytes] = []
    answered = threading.Semaphore()

    def questions() -> Iterator[bytes]:
        for i in range(20):
            assert answered.acquire(timeout=SECONDS)
            yield str(i).encode()

    for answer in channel.stream_stream("/t/Chat")(questions(), timeout=SECONDS):
        answers.append(answer)
        answered.release()
    assert answers == [str(i).encode() for i in range(20)]
