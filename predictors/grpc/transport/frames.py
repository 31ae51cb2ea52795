"""HTTP/2 frames as bytes, and the limits that this server announces (RFC 9113)."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE = 9  # bytes before the payload of a frame
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED = 0, 1, 2, 3, 5
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 6, 7, 8, 9, 11
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
MAX_HEADER_LIST_SIZE = 6
DEFAULT_WINDOW, DEFAULT_FRAME, MAX_FRAME, MAX_WINDOW = 65_535, 16_384, 2**24 - 1, 2**31 - 1

MAX_STREAMS = 1024  # of one connection at a time
MAX_HEADERS = 32 * 1024  # bytes of the headers of one request
MAX_BLOCK = 2 * MAX_HEADERS  # bytes of headers that are decoded at all; beyond it the connection ends
MAX_RECEIVED_FRAME = 2**20  # bytes of a frame: large messages come in few pieces

HEAD_FORMAT = struct.Struct(">HBBBL")


class ConnectionFault(Exception):
    """The peer broke the protocol; the connection ends."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    length = len(payload)
    return HEAD_FORMAT.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def settings(window: int) -> bytes:
    """The SETTINGS of this server; `window` is the number of bytes of a request that may be in flight unread."""
    values = (
        (MAX_CONCURRENT_STREAMS, MAX_STREAMS),
        (INITIAL_WINDOW_SIZE, window),
        (MAX_FRAME_SIZE, MAX_RECEIVED_FRAME),
        (MAX_HEADER_LIST_SIZE, MAX_HEADERS),
    )
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in values))


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: int, words: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + words)


def literal(name: bytes, value: bytes) -> bytes:
    """A header field that enters no table; names and values of less than 127 bytes, or longer ones alike."""
    return b"\x00" + text(name) + text(value)


def text(value: bytes) -> bytes:
    """A string without Huffman coding."""
    length = len(value)
    if length < 127:
        return bytes((length,)) + value
    encoded, rest = bytearray((127,)), length - 127
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    encoded.append(rest)
    return bytes(encoded) + value
