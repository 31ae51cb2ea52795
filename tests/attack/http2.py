"""HTTP/2 by hand (RFC 9113): frames as bytes, and a client that judges nothing of what it sends."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import hpack
from hpack.hpack import encode_integer

from tests.attack.attacked import good_message

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 6
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WINDOW = 2**31 - 1
SECONDS = 5.0
INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"

Field = tuple[str, str]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame; `length` is a lie about its payload."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def priority(depends_on: int, weight: int = 16) -> bytes:
    """The payload of a PRIORITY frame."""
    return struct.pack(">IB", depends_on, weight)


def literal(name: str | bytes, value: str | bytes) -> bytes:
    """A header field that enters no table."""
    name = name.encode("latin-1") if isinstance(name, str) else name
    value = value.encode("latin-1") if isinstance(value, str) else value
    return b"\x00" + string(name) + string(value)


def string(text: bytes) -> bytes:
    return bytes(encode_integer(len(text), 7)) + text


def block(fields: list[Field]) -> bytes:
    return b"".join(literal(*one) for one in fields)


PSEUDO: list[Field] = [(":method", "POST"), (":scheme", "http"), (":path", LIVE), (":authority", "test")]
REGULAR: list[Field] = [("te", "trailers"), ("content-type", "application/grpc")]


def fields(path: str = LIVE, *more: Field) -> list[Field]:
    return [(name, path if name == ":path" else value) for name, value in PSEUDO] + REGULAR + list(more)


def headers(stream: int, path: str = LIVE, *more: Field, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, block(fields(path, *more)))


def message(body: bytes = b"", *, compressed: bool = False) -> bytes:
    """A message of gRPC, with its length before it."""
    return struct.pack(">BI", compressed, len(body)) + body


def call(stream: int, path: str = LIVE, body: bytes = b"", *more: Field) -> bytes:
    return headers(stream, path, *more) + data(stream, message(body))


def data(stream: int, body: bytes) -> bytes:
    """The end of a stream, in frames that every peer takes."""
    pieces = [body[i : i + 16_384] for i in range(0, len(body), 16_384)]
    last = len(pieces) - 1
    return b"".join(frame(DATA, END_STREAM if i == last else 0, stream, piece) for i, piece in enumerate(pieces))


def good_call(stream: int) -> bytes:
    return call(stream, INFER, good_message().SerializeToString())


@dataclass
class Frame:
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
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                piece = self.sock.recv(1 << 20)
            except ConnectionResetError:
                piece = b""
            if not piece:
                self.ended = True
                return None
            self.buffer += piece
        end = 9 + int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        received = Frame(kind, flags, stream, bytes(self.buffer[9:end]))
        del self.buffer[:end]
        self.frames.append(received)
        if kind == HEADERS:
            self.trailers[stream] = {str(name): str(value) for name, value in self.decoder.decode(received.payload)}
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
        made = Http2Client(sock)
        if begin:
            made.send(PREFACE + settings(*pairs))
        yield made
