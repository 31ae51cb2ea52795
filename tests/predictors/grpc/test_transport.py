"""The gRPC server on the wire: frames written by hand, and the real client."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import logging
import select
import socket
import struct
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import hpack
import pytest
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.grpc.transport import connection as connection_module
from predictors.grpc.transport.calls import Abort, GrpcCall, GrpcServer, Method
from predictors.grpc.transport.connection import Http2Connection
from predictors.grpc.transport.headers import Headers
from predictors.grpc.transport.stream import Stream
from predictors.protocol.grpc_status import GrpcStatus
from predictors.queueing.slow_clients import MAX_STALL
from tests.serving import Running, wait_for

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0, 1, 3, 5, 6
REFUSED_STREAM, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 9, 11
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 5, 6
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_MESSAGE = 12 * 1024**2
SECONDS = 10  # after which a test that waits has failed


# -- a server with methods for tests ----------------------------------------------------------------------------------


class Service:
    """Methods that show what the server makes of a call."""

    def __init__(self) -> None:
        self.started: list[GrpcCall] = []
        self.cancelled = 0
        self.release = asyncio.Event()

    def methods(self) -> dict[str, Method]:
        return {
            "/t/Echo": Method(unary=self.echo),
            "/t/Quick": Method(unary=self.echo, quick=self.quick),
            "/t/Big": Method(unary=self.big),
            "/t/Wait": Method(unary=self.wait),
            "/t/Words": Method(unary=self.words),
            "/t/Broken": Method(unary=self.broken),
            "/t/GivenUp": Method(unary=self.given_up),
            "/t/Metadata": Method(unary=self.metadata),
            "/t/Chat": Method(streaming=self.chat),
            "/t/Deaf": Method(streaming=self.deaf),
            "/t/BrokenChat": Method(streaming=self.broken_chat),
        }

    async def echo(self, call: GrpcCall, message: bytes) -> bytes:
        return message

    def quick(self, call: GrpcCall, message: bytes) -> None:
        call.reply(message)

    async def big(self, call: GrpcCall, message: bytes) -> bytes:
        return bytes(int(message))

    async def wait(self, call: GrpcCall, message: bytes) -> bytes:
        self.started.append(call)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return message

    async def words(self, call: GrpcCall, message: bytes) -> bytes:
        raise Abort(GrpcStatus.INVALID_ARGUMENT, message.decode("utf-8", "surrogateescape"))

    async def broken(self, call: GrpcCall, message: bytes) -> bytes:
        raise RuntimeError("a secret of the server")

    async def given_up(self, call: GrpcCall, message: bytes) -> bytes:
        raise asyncio.CancelledError

    async def metadata(self, call: GrpcCall, message: bytes) -> bytes:
        return repr(call.head.metadata).encode()

    async def chat(self, call: GrpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message

    async def deaf(self, call: GrpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield await self.wait(call, message)

    async def broken_chat(self, call: GrpcCall, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message
            raise RuntimeError("a secret of the server")


@dataclass
class Http2Wire:
    """A running server of `Service`."""

    address: tuple[str, int]
    server: GrpcServer
    service: Service
    loop: Any

    @property
    def target(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def soon(self, function: Callable[[], Any]) -> None:
        self.loop.call_soon_threadsafe(function)

    def run(self, function: Callable[[], Any]) -> Any:
        """In the loop of the server, so that nothing moves meanwhile."""

        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(SECONDS)


@contextlib.contextmanager
def serving() -> Iterator[Http2Wire]:
    sock = socket.create_server(("127.0.0.1", 0))
    loop = uvloop.new_event_loop()
    service = Service()
    server = GrpcServer(service.methods(), MAX_MESSAGE)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(sock), loop).result(SECONDS)
    try:
        yield Http2Wire(sock.getsockname(), server, service, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(SECONDS)
        wait_for(lambda: not server.connections and not server.tasks, seconds=SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        assert not thread.is_alive()
        loop.close()
        sock.close()


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Http2Wire]:
    with serving() as made:
        yield made


@pytest.fixture
def wire(shared_wire: Http2Wire) -> Iterator[Http2Wire]:
    """One server for all tests, which leave nothing behind in it."""
    shared_wire.service.started.clear()
    shared_wire.service.cancelled = 0
    shared_wire.run(shared_wire.service.release.clear)
    yield shared_wire
    shared_wire.run(shared_wire.service.release.set)
    wait_for(lambda: not shared_wire.server.connections and not shared_wire.server.tasks, seconds=SECONDS)


# -- a client that writes frames by hand ------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def packed(message: bytes, compressed: bool = False) -> bytes:
    return struct.pack(">BI", compressed, len(message)) + message


def fields_of(path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("te", "trailers"),
        ("content-type", "application/grpc"), *more,
    ]  # fmt: skip


def plain(path: str, *more: tuple[str, str]) -> bytes:
    """A block of headers that enters no table, so that any encoder's state fits it."""
    made = b""
    for name, value in fields_of(path, *more):
        made += b"\x00" + number(len(name)) + name.encode() + number(len(value)) + value.encode()
    return made


def number(value: int) -> bytes:
    """An integer of HPACK with seven bits in its first byte."""
    return bytes(hpack.hpack.encode_integer(value, 7))


def call(stream: int, path: str = "/t/Echo", message: bytes = b"hello", *more: tuple[str, str]) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, plain(path, *more)) + frame(DATA, END_STREAM, stream, packed(message))


@dataclass
class SentFrame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of a GOAWAY or a RST_STREAM."""
        at = 4 if self.kind == GOAWAY else 0
        return int.from_bytes(self.payload[at : at + 4], "big")


@dataclass
class Http2Reply:
    """What has come on one stream."""

    headers: list[dict[str, str]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    pieces: list[int] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers[-1]["grpc-status"])

    @property
    def done(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def message(self) -> bytes:
        assert self.ended
        assert self.headers[0][":status"] == "200"
        assert self.status == 0, self.headers
        assert all(":status" not in one for one in self.headers[1:])
        assert len(self.data) == 5 + int.from_bytes(self.data[1:5], "big")
        return bytes(self.data[5:])


class Http2Peer:
    """One connection to the server."""

    def __init__(self, address: tuple[str, int], *pairs: tuple[int, int], begin: bool = True, room: int = 0) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(SECONDS)
        if room:  # of what is not read
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.decoder = hpack.Decoder()
        self.encoder = hpack.Encoder()
        self.frames: list[SentFrame] = []
        self.replies: dict[int, Http2Reply] = defaultdict(Http2Reply)
        if begin:
            self.send(PREFACE + settings(*pairs))

    def __enter__(self) -> Http2Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> SentFrame | None:
        """The next frame; none at the end of the connection."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                more = self.sock.recv(1 << 20)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self.buffer, "the connection ended within a frame"
                return None
            self.buffer += more
        end = 9 + int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        made = SentFrame(kind, flags, stream, bytes(self.buffer[9:end]))
        del self.buffer[:end]
        self.frames.append(made)
        self.note(made)
        return made

    def note(self, made: SentFrame) -> None:
        reply = self.replies[made.stream]
        if made.kind == HEADERS:
            assert made.flags & END_HEADERS
            assert not reply.done
            reply.headers.append({str(name): str(value) for name, value in self.decoder.decode(made.payload)})
        elif made.kind == DATA:
            assert not reply.done
            reply.data += made.payload
            reply.pieces.append(len(made.payload))
        elif made.kind == RST_STREAM:
            reply.reset = made.code
        if made.kind in (HEADERS, DATA) and made.flags & END_STREAM:
            reply.ended = True

    def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            assert self.read() is not None, f"the connection ended: {self.frames[-3:]}"

    def first(self, kind: int, flags: int = 0) -> SentFrame:
        """The first frame of a kind, whether it is still to come or not."""
        found: list[SentFrame] = []

        def there() -> bool:
            found[:] = [one for one in self.frames if one.kind == kind and one.flags & flags == flags][:1]
            return bool(found)

        self.until(there)
        return found[0]

    def reply(self, stream: int) -> Http2Reply:
        self.until(lambda: self.replies[stream].done)
        return self.replies[stream]

    def round_trip(self) -> None:
        """Afterwards the server has dealt with all that was sent before."""
        mark = struct.pack(">Q", len(self.frames))
        self.send(frame(PING, 0, 0, mark))
        self.until(lambda: self.frames and (self.frames[-1].kind, self.frames[-1].payload) == (PING, mark))

    def goaway(self) -> int:
        """The code with which the server ends the connection, after which it does."""
        code = self.first(GOAWAY).code
        while self.read() is not None:
            pass
        return code

    def flood(self, data: bytes, times: int) -> int:
        """Sends the same again and again and reads on, until the server has had enough."""
        left = memoryview(data * times)
        self.sock.setblocking(False)
        try:
            while left:
                readable, writable, _ = select.select([self.sock], [self.sock], [], SECONDS)
                assert readable or writable, "neither reads nor writes"
                if writable:
                    left = left[self.sock.send(left) :]
                if readable and (more := self.sock.recv(1 << 20)):
                    self.buffer += more
                elif readable:
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self.sock.settimeout(SECONDS)
        return self.goaway()


@pytest.fixture
def peer(wire: Http2Wire) -> Iterator[Http2Peer]:
    with Http2Peer(wire.address) as made:
        yield made


def lives(wire: Http2Wire) -> None:
    """The server goes on for others."""
    with Http2Peer(wire.address) as other:
        other.send(call(1, message=b"still there?"))
        assert other.reply(1).message == b"still there?"


# -- the beginning ----------------------------------------------------------------------------------------------------


def test_preface_in_single_bytes(wire: Http2Wire) -> None:
    with Http2Peer(wire.address, begin=False) as peer:
        for byte in PREFACE + settings() + call(1):
            peer.send(bytes((byte,)))
        assert peer.reply(1).message == b"hello"
        announced = peer.frames[0]
        assert announced.kind == SETTINGS
        values = dict(struct.iter_unpack(">HI", announced.payload))
        assert values[MAX_CONCURRENT_STREAMS] == 1024
        assert values[INITIAL_WINDOW_SIZE] > MAX_MESSAGE
        assert peer.first(SETTINGS, ACK).payload == b""


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"POST /v2/models HTTP/1.1\r\n", b"PUT / HTTP/1.0"]
)
def test_http_1_is_told_so(wire: Http2Wire, line: bytes) -> None:
    with socket.create_connection(wire.address, timeout=SECONDS) as sock:
        sock.sendall(line)
        said = b""
        while more := sock.recv(4096):
            said += more
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"content-length: {len(body)}".encode() in head
    assert b"gRPC" in body
    lives(wire)


def test_tls_is_hung_up_on(wire: Http2Wire) -> None:
    with socket.create_connection(wire.address, timeout=SECONDS) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
        assert sock.recv(100) == b""


def test_who_says_nothing_is_hung_up_on(wire: Http2Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_STALL", 0.05)
    with socket.create_connection(wire.address, timeout=SECONDS) as sock:
        sock.sendall(PREFACE[:5])
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""


def test_who_has_begun_may_be_silent(wire: Http2Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_STALL", 0.05)
    with Http2Peer(wire.address) as peer:
        peer.first(SETTINGS, ACK)
        peer.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.read()
        peer.sock.settimeout(SECONDS)
        peer.send(call(1))
        assert peer.reply(1).message == b"hello"


# -- requests in all shapes -------------------------------------------------------------------------------------------


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
        made = Http2Connection(Seen, set(), 2**20)
        made.connection_made(Nowhere())  # type: ignore[arg-type]  # only what a connection asks of one
        whole = PREFACE + frame(HEADERS, END_HEADERS, 1, plain("/t/Echo")) + frame(DATA, END_STREAM, 1, bytes(2**20))
        for at in range(0, len(whole), 25):
            made.data_received(whole[at : at + 25])
        made.connection_lost(None)
        return made.received

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
    ("kind", "taken"),
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
def test_content_types(peer: Http2Peer, kind: str, taken: bool) -> None:
    block = plain("/t/Echo").replace(
        b"\x0ccontent-type\x10application/grpc", b"\x0ccontent-type" + number(len(kind)) + kind.encode()
    )
    peer.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, packed(b"hello")))
    reply = peer.reply(1)
    assert reply.headers[0][":status"] == ("200" if taken else "415")


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


# -- flow control towards the client ----------------------------------------------------------------------------------


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
        pytest.param(OPEN + frame(HEADERS, END_HEADERS, 5, b"\x00\x01x\x01y"), PROTOCOL_ERROR, id="headers in the middle"),
        pytest.param(frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05abc"), PROTOCOL_ERROR, id="padding beyond the end"),
        pytest.param(frame(HEADERS, END_HEADERS | PADDED, 1, b""), PROTOCOL_ERROR, id="padding of no length"),
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


def test_trailers_for_a_call_that_has_ended(peer: Http2Peer) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Nothing")))
    assert peer.reply(1).status == GrpcStatus.UNIMPLEMENTED
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01x\x01y"))
    peer.send(call(3))
    assert peer.reply(3).message == b"hello"


# -- headers ----------------------------------------------------------------------------------------------------------


def test_too_many_headers_end_only_their_call(wire: Http2Wire, peer: Http2Peer) -> None:
    """Behind one proxy are many callers: the large headers of one must not end the calls of the others."""
    peer.send(call(1, "/t/Wait"))
    wait_for(lambda: wire.service.started, seconds=SECONDS)
    peer.send(call(3, "/t/Echo", b"hello", ("x-large", "y" * 40_000)))
    assert peer.reply(3).reset == ENHANCE_YOUR_CALM  # which gRPC knows as RESOURCE_EXHAUSTED
    wire.soon(wire.service.release.set)
    assert peer.reply(1).message == b"hello"


def test_header_bombs(wire: Http2Wire) -> None:
    bomb = b"\x40\x01x" + number(3000) + b"y" * 3000 + b"\xbe" * 10_000  # thirty megabytes when unpacked
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, END_HEADERS, 1, bomb))
        assert peer.goaway() == ENHANCE_YOUR_CALM
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, END_HEADERS, 1, b"\x00\x01x\x7f" + b"\x80" * 900_000))
        assert peer.goaway() == ENHANCE_YOUR_CALM
    lives(wire)


def test_continuation_floods(wire: Http2Wire) -> None:
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, 0, 1, b""))
        assert peer.flood(frame(CONTINUATION, 0, 1), 10_100) == ENHANCE_YOUR_CALM
    with Http2Peer(wire.address) as peer:
        peer.send(frame(HEADERS, 0, 1, b""))
        assert peer.flood(frame(CONTINUATION, 0, 1, bytes(1000)), 100) == ENHANCE_YOUR_CALM
    lives(wire)


def test_table_changes_between_calls(peer: Http2Peer) -> None:
    for i in range(40):
        size = (4096, 0, 200, 4096)[i // 10]
        if i % 10 == 0:
            peer.encoder.header_table_size = size
        block = peer.encoder.encode(fields_of("/t/Metadata", ("x-a", f"{i % 3}" * 500), ("x-b", str(i % 2))))
        peer.send(frame(HEADERS, END_HEADERS, 2 * i + 1, block) + frame(DATA, END_STREAM, 2 * i + 1, packed(b"")))
        expected = (("x-a", f"{i % 3}" * 500), ("x-b", str(i % 2)))
        assert peer.reply(2 * i + 1).message == repr(expected).encode()


class Nowhere:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.closed = False
        self.left = 0

    def get_write_buffer_size(self) -> int:
        return self.left

    def pause_reading(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_extra_info(self, name: str) -> Any:
        return self

    def setsockopt(self, *_: int) -> None:
        pass


class Seen(Stream):
    def begin(self) -> None:
        pass

    def data(self, chunk: bytes) -> None:
        pass

    def end(self) -> None:
        self.connection.send_trailers(self, b"")


def decoded_by_connection(blocks: list[bytes]) -> list[Headers]:
    """What a connection makes of a sequence of header blocks."""

    async def run() -> list[Headers]:
        seen: list[Headers] = []

        def opened(connection: Http2Connection, number: int, headers: Headers) -> Stream:
            seen.append(headers)
            return Seen(connection, number, headers)

        made = Http2Connection(opened, set(), 2**20)
        made.connection_made(Nowhere())  # type: ignore[arg-type]  # only what a connection asks of one
        made.data_received(PREFACE)
        for i, block in enumerate(blocks):
            made.data_received(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, block))
        made.connection_lost(None)
        return seen

    return asyncio.run(run())


def added(value: bytes) -> bytes:
    """A field that enters the table."""
    return b"\x40\x01x" + number(len(value)) + value


INSTRUCTIONS = [
    *(bytes((0x80 | 61 + i,)) for i in range(1, 5)),  # the newest entries of the table
    *(added(letter * size) for letter in (b"a", b"b") for size in (1, 1300, 3000, 5000)),
    b"\x82", b"\x00\x01y\x01z", b"\x10\x01y\x01z", b"\x7e\x01v",
]  # fmt: skip
RESIZED = [b"", b"", b"", b"\x20", b"\x3f\x45", b"\x3f\xe1\x1f", b"\x20\x3f\xe1\x1f"]  # to 0, 100 and 4096 bytes
BLOCKS = st.builds(
    lambda resized, fields: resized + b"".join(fields),
    st.sampled_from(RESIZED),
    st.lists(st.sampled_from(INSTRUCTIONS), min_size=1, max_size=4),
)


@given(st.lists(BLOCKS, min_size=1, max_size=4).flatmap(lambda few: st.lists(st.sampled_from(few), max_size=25)))
def test_remembered_headers_are_never_stale(blocks: list[bytes]) -> None:
    """Against a decoder that remembers nothing but its table, with the same few blocks again and again."""
    decoder = hpack.Decoder()
    sent, expected = [], []
    for block in blocks:
        attempt = copy.deepcopy(decoder)
        with contextlib.suppress(hpack.HPACKError):
            fields = tuple((bytes(name), bytes(value)) for name, value in attempt.decode(block, raw=True))
            sent.append(block)
            expected.append(fields)
            decoder = attempt
    assert decoded_by_connection(sent) == expected


def test_an_entry_in_the_place_of_another() -> None:
    """Two new entries, each of which drives out all before it: what is first then may lie where the first lay."""
    newest = b"\xbe"
    for _ in range(20):
        blocks = [added(b"a" * 3000), newest, newest, added(b"b" * 3000) + added(b"c" * 3000), newest]
        *_, last = decoded_by_connection(blocks)
        assert last == ((b"x", b"c" * 3000),)


def test_an_entry_like_another() -> None:
    """What is added again drives out what is last; the first entry and their number look as before."""
    first, second, last = added(b"a" * 2000), added(b"b" * 2000), b"\xbf"
    *_, before, _, after = decoded_by_connection([first, second, last, last, second, last])
    assert (before, after) == (((b"x", b"a" * 2000),), ((b"x", b"b" * 2000),))


def test_headers_that_vary_are_remembered_anew() -> None:
    async def run() -> bool:
        made = Http2Connection(Seen, set(), 2**20)
        made.connection_made(Nowhere())  # type: ignore[arg-type]  # only what a connection asks of one
        made.data_received(PREFACE)
        for i in range(500):
            block = plain("/t/Echo", ("x", str(i)))
            made.data_received(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, block))
            if block not in made.header_blocks.known or len(made.header_blocks.known) > 100:
                return False
        made.connection_lost(None)
        return True

    assert asyncio.run(run())


# -- floods -----------------------------------------------------------------------------------------------------------


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
    assert peer.flood(sent, 10_100) == ENHANCE_YOUR_CALM
    lives(wire)


def test_empty_data_of_a_call_that_has_ended(wire: Http2Wire, peer: Http2Peer) -> None:
    peer.send(frame(HEADERS, END_HEADERS, 1, plain("/t/Nothing")))
    assert peer.flood(frame(DATA, 0, 1), 10_100) == ENHANCE_YOUR_CALM


def test_rapid_resets(wire: Http2Wire, peer: Http2Peer) -> None:
    block = plain("/t/Wait")
    peer.send(b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, block) + reset(2 * i + 1) for i in range(2100)))
    assert peer.goaway() == ENHANCE_YOUR_CALM
    lives(wire)


def test_pings_over_days_are_no_flood(wire: Http2Wire, peer: Http2Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.round_trip()
    for _ in range(4):
        for _ in range(3):
            peer.send(frame(PING, 0, 0, bytes(8)) * 1400)
            peer.round_trip()
        for made in list(wire.server.connections):
            made.minute = 0.0  # over
    peer.send(call(1))
    assert peer.reply(1).message == b"hello"


def test_settings_cost_little(wire: Http2Wire, peer: Http2Peer) -> None:
    """Many settings in one frame while many streams are open."""
    peer.send(b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, plain("/t/Wait")) for i in range(1000)))
    seen: list[float] = []
    peer.round_trip()
    wire.run(lambda: seen.append(wire.loop.time()))
    peer.send(settings(*[(INITIAL_WINDOW_SIZE, 65_535 + i % 2) for i in range(170_000)]))
    peer.round_trip()
    wire.run(lambda: seen.append(wire.loop.time()))
    assert seen[1] - seen[0] < 2


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


def test_the_client_leaves_with_calls_in_flight(wire: Http2Wire) -> None:
    with Http2Peer(wire.address) as peer:
        peer.send(b"".join(call(2 * i + 1, "/t/Wait") for i in range(20)) + call(51, "/t/Deaf"))
        wait_for(lambda: len(wire.service.started) == 21, seconds=SECONDS)
    wait_for(lambda: wire.service.cancelled == 21 and not wire.server.connections, seconds=SECONDS)
    lives(wire)


def test_calls_in_flight_finish_at_shutdown() -> None:
    with serving() as wire, Http2Peer(wire.address) as peer, Http2Peer(wire.address) as idle:
        idle.first(SETTINGS, ACK)
        peer.send(call(1, "/t/Wait", b"first"))
        wait_for(lambda: wire.service.started, seconds=SECONDS)
        stopping = asyncio.run_coroutine_threadsafe(wire.server.stop(SECONDS), wire.loop)
        ping = peer.first(PING)
        assert (peer.first(GOAWAY).payload[:4], peer.first(GOAWAY).code) == (b"\x7f\xff\xff\xff", NO_ERROR)
        peer.send(call(3, "/t/Wait", b"was on its way"))
        peer.send(frame(PING, ACK, 0, ping.payload) + call(5, "/t/Wait", b"came late"))
        assert peer.reply(5).reset == REFUSED_STREAM
        last = [one for one in peer.frames if one.kind == GOAWAY][-1]
        assert (last.payload[:4], last.code) == (b"\0\0\0\3", NO_ERROR)
        wire.soon(wire.service.release.set)
        assert (peer.reply(1).message, peer.reply(3).message) == (b"first", b"was on its way")
        assert peer.read() is None
        while idle.read() is not None:  # does not answer the ping, and is not waited for
            pass
        stopping.result(SECONDS)


def test_real_clients_at_shutdown() -> None:
    """They answer the ping, so that the server need not wait for those that are idle."""
    with serving() as wire, grpc.insecure_channel(wire.target) as busy, grpc.insecure_channel(wire.target) as idle:
        assert idle.unary_unary("/t/Echo")(b"hello", timeout=SECONDS) == b"hello"
        future = busy.unary_unary("/t/Wait").future(b"in flight", timeout=SECONDS)
        wait_for(lambda: wire.service.started, seconds=SECONDS)
        stopping = asyncio.run_coroutine_threadsafe(wire.server.stop(SECONDS), wire.loop)
        wait_for(lambda: all(one.leaving for one in wire.server.connections), seconds=SECONDS)
        assert not stopping.done()
        wire.soon(wire.service.release.set)
        assert future.result() == b"in flight"
        stopping.result(SECONDS)


def test_connections_that_have_not_begun_do_not_keep_the_server() -> None:
    with serving() as wire, Http2Peer(wire.address, begin=False) as peer:
        wait_for(lambda: wire.server.connections, seconds=SECONDS)
        asyncio.run_coroutine_threadsafe(wire.server.stop(SECONDS), wire.loop).result(SECONDS / 2)
        assert peer.read() is None


def test_calls_that_take_longer_than_the_grace() -> None:
    with serving() as wire, Http2Peer(wire.address) as peer:
        peer.send(call(1, "/t/Wait"))
        wait_for(lambda: wire.service.started, seconds=SECONDS)
        asyncio.run_coroutine_threadsafe(wire.server.stop(0.05), wire.loop).result(SECONDS)
        wait_for(lambda: wire.service.cancelled == 1, seconds=SECONDS)
        while peer.read() is not None:
            pass
        assert not peer.replies[1].done


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


# -- clients that do not read -----------------------------------------------------------------------------------------


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
        taken = sent_unread(peer, data)
        assert taken < len(data)
        assert kept(wire) < 60 * 2**20  # of six hundred megabytes
        lives(wire)
        whole = taken // len(calls[0])
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
        made = Http2Connection(Seen, set(), 2**20)
        made.connection_made(transport)  # type: ignore[arg-type]  # only what a connection asks of one
        made.data_received(PREFACE)
        transport.left = 100
        made.pause_writing()
        closed = []
        for checks, left in enumerate((100, 99, 50, 50)):
            transport.left = left
            made.close_if_slow(checks * (MAX_STALL + 1), 0)
            closed.append(transport.closed)
        made.connection_lost(None)
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
        (made,) = wire.server.connections
        wire.run(lambda: made.fail(PROTOCOL_ERROR, "a fault"))
        wait_for(lambda: not wire.server.connections, seconds=SECONDS)
    wire.run(lambda: wire.loop.set_exception_handler(None))
    assert failures == []


# -- the real client --------------------------------------------------------------------------------------------------

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
def channel(wire: Http2Wire) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(wire.target, LARGE) as made:
        yield made


def failed(
    channel: grpc.Channel, path: str, message: bytes = b"", timeout: float = SECONDS, **options: Any
) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(path)(message, timeout=timeout, **options)
    return error.value.code().name, error.value.details()


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_compressed_requests(channel: grpc.Channel, compression: grpc.Compression) -> None:
    message = b"the same again and again, " * 10_000
    assert channel.unary_unary("/t/Echo")(message, compression=compression, timeout=SECONDS) == message
    chat = channel.stream_stream("/t/Chat")(iter([message, b"", message]), compression=compression, timeout=SECONDS)
    assert list(chat) == [message, b"", message]


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
    turn = threading.Semaphore()

    def questions() -> Iterator[bytes]:
        for i in range(20):
            assert turn.acquire(timeout=SECONDS)
            yield str(i).encode()

    for answer in channel.stream_stream("/t/Chat")(questions(), timeout=SECONDS):
        answers.append(answer)
        turn.release()
    assert answers == [str(i).encode() for i in range(20)]


# -- the predictor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [b"\xff", b"\x0a\x05ab", b"\x08"])
@pytest.mark.parametrize(
    "path",
    [
        "/inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/ModelMetadata",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    ],
)
def test_garbage_for_a_message(demo: Running, path: str, message: bytes) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        with pytest.raises(grpc.RpcError) as error:
            list(channel.unary_stream(path)(message, timeout=SECONDS))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_long_name_of_a_service(demo: Running) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            health.Check(health_pb2.HealthCheckRequest(service="x" * 50_000), timeout=SECONDS)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS).status == 1


def infer(i: int) -> Any:
    made = pb.ModelInferRequest(model_name="model", id=str(i))
    row = [91.5, 1.05, 41.0, 0.9 + i / 1000]
    made.inputs.add(name="x", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(row)
    return made


@pytest.mark.parametrize("channels", [1, 20])
def test_each_call_gets_its_own_answer(demo: Running, channels: int) -> None:
    with contextlib.ExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        made = [stack.enter_context(grpc.insecure_channel(demo.grpc, options)) for _ in range(channels)]
        stubs = [pb_grpc.GRPCInferenceServiceStub(one) for one in made]
        alone = [list(stubs[0].ModelInfer(infer(i)).outputs[1].contents.fp64_contents) for i in range(0, 200, 20)]
        futures = [stubs[i % channels].ModelInfer.future(infer(i), timeout=SECONDS) for i in range(200)]
        replies = [future.result() for future in futures]
        assert [one.id for one in replies] == [str(i) for i in range(200)]
        assert [list(one.outputs[1].contents.fp64_contents) for one in replies[::20]] == alone


def test_streams_beside_calls(demo: Running) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        watched = [health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()) for _ in range(20)]
        ask = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
        ] * 20
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(ask), timeout=SECONDS)
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        futures = [stub.ModelInfer.future(infer(i), timeout=SECONDS) for i in range(50)]
        kinds = [one.WhichOneof("message_response") for one in reflected]
        assert kinds == ["list_services_response", "file_descriptor_response"] * 20
        assert [future.result().id for future in futures] == [str(i) for i in range(50)]
        assert [next(one).status for one in watched] == [health_pb2.HealthCheckResponse.SERVING] * 20
        for one in watched:
            one.cancel()


@pytest.mark.parametrize("message", [b"", packed(b"")])
def test_empty_messages(demo: Running, message: bytes) -> None:
    with grpc.insecure_channel(demo.grpc) as channel:
        code, details = failed(channel, "/inference.GRPCInferenceService/ModelInfer", message)
        assert code in ("NOT_FOUND", "INVALID_ARGUMENT"), details
