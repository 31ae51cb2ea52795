"""An HTTP/2 client that writes its frames by hand, for tests of the gRPC server."""

from __future__ import annotations

import select
import socket
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import hpack
import pytest

from predictors.grpc.transport.stream import Stream
from tests.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    Frame,
    frame,
    literal,
    packed,
    received_frame,
    settings,
)
from tests.predictors.grpc.serving import SECONDS, Http2Wire


def fields_of(path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("te", "trailers"),
        ("content-type", "application/grpc"), *more,
    ]  # fmt: skip


def plain(path: str, *more: tuple[str, str]) -> bytes:
    """A block of headers that enters no table, so that any encoder's state fits it."""
    return b"".join(literal(*field) for field in fields_of(path, *more))


def call(stream: int, path: str = "/t/Echo", message: bytes = b"hello", *more: tuple[str, str]) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, plain(path, *more)) + frame(DATA, END_STREAM, stream, packed(message))


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
        self.frames: list[Frame] = []
        self.replies: dict[int, Http2Reply] = defaultdict(Http2Reply)
        if begin:
            self.send(PREFACE + settings(*pairs))

    def __enter__(self) -> Http2Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self) -> Frame | None:
        """The next frame; none at the end of the connection."""
        received = received_frame(self.sock, self.buffer)
        if received is None:
            assert not self.buffer, "the connection ended within a frame"
            return None
        self.frames.append(received)
        self.note(received)
        return received

    def note(self, received: Frame) -> None:
        reply = self.replies[received.stream]
        if received.kind == HEADERS:
            assert received.flags & END_HEADERS
            assert not reply.done
            reply.headers.append({str(name): str(value) for name, value in self.decoder.decode(received.payload)})
        elif received.kind == DATA:
            assert not reply.done
            reply.data += received.payload
            reply.pieces.append(len(received.payload))
        elif received.kind == RST_STREAM:
            reply.reset = received.code
        if received.kind in (HEADERS, DATA) and received.flags & END_STREAM:
            reply.ended = True

    def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            assert self.read() is not None, f"the connection ended: {self.frames[-3:]}"

    def first(self, kind: int, flags: int = 0) -> Frame:
        """The first frame of a kind, whether it is still to come or not."""
        seen = 0
        while True:
            while seen < len(self.frames):
                one = self.frames[seen]
                if one.kind == kind and one.flags & flags == flags:
                    return one
                seen += 1
            assert self.read() is not None, f"the connection ended: {self.frames[-3:]}"

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


def lives(wire: Http2Wire) -> None:
    """The server goes on for others."""
    with Http2Peer(wire.address) as other:
        other.send(call(1, message=b"still there?"))
        assert other.reply(1).message == b"still there?"


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


def failed(
    channel: grpc.Channel, path: str, message: bytes = b"", timeout: float = SECONDS, **options: Any
) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(path)(message, timeout=timeout, **options)
    return error.value.code().name, error.value.details()
