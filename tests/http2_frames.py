"""HTTP/2 frames (RFC 9113) and the messages of gRPC as bytes, for clients of tests that write them by hand."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from functools import lru_cache

from hpack.hpack import encode_integer

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED = range(6)
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(6, 12)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 6
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


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


def received_frame(sock: socket.socket, buffer: bytearray) -> Frame | None:
    """The next frame; none at the end of the connection. `buffer` keeps what came beyond it."""
    while len(buffer) < 9 or len(buffer) < 9 + int.from_bytes(buffer[:3], "big"):
        try:
            piece = sock.recv(1 << 20)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return None
        buffer += piece
    end = 9 + int.from_bytes(buffer[:3], "big")
    kind, flags, stream = struct.unpack(">BBI", buffer[3:9])
    frame = Frame(kind, flags, stream, bytes(buffer[9:end]))
    del buffer[:end]
    return frame


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


@lru_cache
def literal(name: str | bytes, value: str | bytes) -> bytes:
    """A header field that enters no table, so that any encoder's state fits it."""
    name = name.encode("latin-1") if isinstance(name, str) else name
    value = value.encode("latin-1") if isinstance(value, str) else value
    return b"\x00" + string(name) + string(value)


def string(text: bytes) -> bytes:
    return number(len(text)) + text


def number(value: int) -> bytes:
    """An integer of HPACK with seven bits in its first byte."""
    return bytes(encode_integer(value, 7))


def packed(message: bytes = b"", compressed: bool = False) -> bytes:
    """A message of gRPC, with its length before it."""
    return struct.pack(">BI", compressed, len(message)) + message
