"""Header fields of HTTP as they are on the wire."""

from __future__ import annotations

JSON_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
BINARY_TYPE = b"application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"
NOSNIFF = b"x-content-type-options: nosniff\r\n"  # on every reply, the slow path's too
OK_JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + NOSNIFF + b"content-length: %d\r\n"
OK_BINARY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
    + NOSNIFF
    + b"inference-header-content-length: %d\r\ncontent-length: %d\r\n"
)
CLOSE = b"connection: close\r\n"
REQUEST_ID = b"x-request-id: %b\r\n"
