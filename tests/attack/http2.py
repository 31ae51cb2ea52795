"""HTTP/2 by hand (RFC 9113): frames as bytes, and a client that judges nothing of what it sends."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import hpack

from tests.attack.attacked import good_message
from tests.http2_frames import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    STREAM_CLOSED,
    Frame,
    frame,
    literal,
    packed,
    received_frame,
    settings,
)

MAX_WINDOW = 2**31 - 1
SECONDS = 5.0
INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"

Field = tuple[str, str]


def priority(depends_on: int, weight: int = 16) -> bytes:
    """The payload of a PRIORITY frame."""
    return struct.pack(">IB", depends_on, weight)


def block(fields: list[Field]) -> bytes:
    return b"".join(literal(*one) for one in fields)


PSEUDO: list[Field] = [(":method", "POST"), (":scheme", "http"), (":path", LIVE), (":authority", "test")]
REGULAR: list[Field] = [("te", "trailers"), ("content-type", "application/grpc")]


def fields(path: str = LIVE, *more: Field) -> list[Field]:
    return [(name, path if name == ":path" else value) for name, value in PSEUDO] + REGULAR + list(more)


def headers(stream: int, path: str = LIVE, *more: Field, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, block(fields(path, *more)))


def call(stream: int, path: str = LIVE, body: bytes = b"", *more: Field) -> bytes:
    return headers(stream, path, *more) + data(stream, packed(body))


def data(stream: int, body: bytes) -> bytes:
    """The end of a stream, in frames that every peer takes."""
    pieces = [body[i : i + 16_384] for i in range(0, len(body), 16_384)]
    last = len(pieces) - 1
    return b"".join(frame(DATA, END_STREAM if i == last else 0, stream, piece) for i, piece in enumerate(pieces))


def good_call(stream: int) -> bytes:
    return call(stream, INFER, good_message().SerializeToString())


@dataclass
class Http2Client:
    """One connection; everything that came on it is in `frames`."""

    sock: socket.socket
    frames: list[Frame] = field(default_factory=list)
    buffer: bytearray = field(default_factory=bytearray)
    decoder: hpack.Decoder = field(default_factory=hpack.Decoder)
    trailers: dict[int, dict[str, str]] = field(default_factory=dict)
    """The last headers of each stream."""
    ended: bool = False

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            self.sock.sendall(data)

    def read(self) -> Frame | None:
        """The next frame; none at the end of the connection."""
        received = received_frame(self.sock, self.buffer)
        if received is None:
            self.ended = True
            return None
        self.frames.append(received)
        if received.kind == HEADERS:
            self.trailers[received.stream] = {
                str(name): str(value) for name, value in self.decoder.decode(received.payload)
            }
        return received

    def read_until(self, kind: int, stream: int = 0, flags: int = 0) -> Frame | None:
        """The next such frame; none if the connection ends before."""
        while (received := self.read()) is not None:
            if (received.kind, received.stream, received.flags & flags) == (kind, stream, flags):
                return received
        return None

    def round_trip(self) -> bool:
        """Afterwards the server has dealt with all that was sent before, or has ended the connection."""
        mark = struct.pack(">Q", 2**40 + len(self.frames))
        self.send(frame(PING, payload=mark))
        while (received := self.read_until(PING, flags=ACK)) is not None:
            if received.payload == mark:
                return True
        return False

    def over(self, stream: int) -> bool:
        """Whether the server has said its last word on a stream."""
        return any(
            one.stream == stream
            and (one.kind == RST_STREAM or (one.kind in (HEADERS, DATA) and bool(one.flags & END_STREAM)))
            for one in self.frames
        )

    def outcome(self, stream: int, *, wait: bool = False) -> str:
        """What became of what was sent: `connection:CODE`, `stream:CODE`, `status:N`, `http:N`, `closed` or `open`.

        With `wait` only once the stream is over.
        """
        self.round_trip()
        while wait and not self.ended and not self.over(stream):
            self.read()
        for one in self.frames:
            if one.kind == GOAWAY and one.code != NO_ERROR:
                return f"connection:{CODES.get(one.code, one.code)}"
        if self.ended:
            return "closed"
        ended = False
        for one in self.frames:
            if one.stream == stream and one.kind == RST_STREAM and not (ended and one.code == NO_ERROR):
                return f"stream:{CODES.get(one.code, one.code)}"
            ended = ended or (one.stream == stream and one.kind in (HEADERS, DATA) and bool(one.flags & END_STREAM))
        if not ended:
            return "open"
        status = self.trailers[stream].get(":status", "200")
        return f"status:{self.trailers[stream].get('grpc-status')}" if status == "200" else f"http:{status}"


CODES = {
    NO_ERROR: "NO_ERROR", PROTOCOL_ERROR: "PROTOCOL_ERROR", INTERNAL_ERROR: "INTERNAL_ERROR",
    FLOW_CONTROL_ERROR: "FLOW_CONTROL_ERROR", STREAM_CLOSED: "STREAM_CLOSED", FRAME_SIZE_ERROR: "FRAME_SIZE_ERROR",
    REFUSED_STREAM: "REFUSED_STREAM", CANCEL: "CANCEL", COMPRESSION_ERROR: "COMPRESSION_ERROR",
    ENHANCE_YOUR_CALM: "ENHANCE_YOUR_CALM",
}  # fmt: skip


@contextlib.contextmanager
def client(
    address: tuple[str, int], *pairs: tuple[int, int], begin: bool = True, timeout: float = SECONDS
) -> Iterator[Http2Client]:
    with socket.create_connection(address, timeout=timeout) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Http2Client(sock)
        if begin:
            peer.send(PREFACE + settings(*pairs))
        yield peer
