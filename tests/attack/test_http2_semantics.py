"""Requests that RFC 9113 calls malformed (8.1.1): PROTOCOL_ERROR for their stream, while the connection goes on."""

from __future__ import annotations

import pytest

from tests.attack.attacked import Attacked
from tests.attack.cases import SERVED, Case, case, check
from tests.attack.http2 import LIVE, PSEUDO, REGULAR, Field, block, fields, headers
from tests.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, frame, literal, packed

MALFORMED = "stream:PROTOCOL_ERROR"


def call_with(*added: Field) -> bytes:
    """A call with just these headers."""
    return frame(HEADERS, END_HEADERS, 1, block(list(added))) + frame(DATA, END_STREAM, 1, packed())


def call_with_encoded(*added: bytes) -> bytes:
    """A call with these fields too, as they are coded."""
    return frame(HEADERS, END_HEADERS, 1, block(fields()) + b"".join(added)) + frame(DATA, END_STREAM, 1, packed())


def with_value(name: str, value: str) -> list[Field]:
    return [(one, value if one == name else before) for one, before in fields()]


def without(name: str) -> list[Field]:
    return [one for one in fields() if one[0] != name]


def trailers(*added: Field, flags: int = END_HEADERS | END_STREAM) -> bytes:
    return headers(1) + frame(DATA, 0, 1, packed()) + frame(HEADERS, flags, 1, block(list(added)))


def call_of_length(length: str, *more: str, body: bytes = packed()) -> bytes:
    lengths = [("content-length", one) for one in (length, *more)]
    return headers(1, LIVE, *lengths) + frame(DATA, END_STREAM, 1, body)


# 8.3: pseudo-header fields
PSEUDO_HEADERS = [
    *(case(f"no {name}", call_with(*without(name)), MALFORMED) for name in (":method", ":scheme", ":path")),
    *(case(f"two {name}", call_with((name, value), *fields()), MALFORMED) for name, value in PSEUDO),
    *(case(f"{name} after the others", call_with(*without(name), (name, value)), MALFORMED) for name, value in PSEUDO),
    case("no :authority", call_with(*without(":authority")), SERVED),
    case("host for :authority", call_with(*without(":authority"), ("host", "test")), SERVED),
    case("host like :authority", call_with(*fields(), ("host", "test")), SERVED),
    case("host like :authority but for its case and port", call_with(*fields(), ("host", "TEST:80")), SERVED),
    case("host unlike :authority", call_with(*fields(), ("host", "another")), MALFORMED),
    case("two hosts", call_with(*without(":authority"), ("host", "test"), ("host", "another")), MALFORMED),
    case("an empty :path", call_with(*with_value(":path", "")), MALFORMED),
    case("a :path without /", call_with(*with_value(":path", "inference")), MALFORMED),
    case("an empty :method", call_with(*with_value(":method", "")), MALFORMED),
    case("a :method that is no token", call_with(*with_value(":method", "PO ST")), MALFORMED),
    case("an empty :scheme", call_with(*with_value(":scheme", "")), MALFORMED),
    case("a :scheme that is none", call_with(*with_value(":scheme", "ht tp")), MALFORMED),
    case("CONNECT without a host", call_with((":method", "CONNECT"), *REGULAR), MALFORMED),
    case("CONNECT with a :path", call_with(*with_value(":method", "CONNECT")), MALFORMED),
    case("an unknown pseudo-header", call_with(*PSEUDO, (":unknown", "x"), *REGULAR), MALFORMED),
    case("a pseudo-header of responses", call_with(*PSEUDO, (":status", "200"), *REGULAR), MALFORMED),
    case(":protocol that was not announced", call_with(*PSEUDO, (":protocol", "websocket"), *REGULAR), MALFORMED),
    case("no headers", frame(HEADERS, END_HEADERS | END_STREAM, 1), MALFORMED),
]  # fmt: skip

# 8.2: field names and values
NAMES = {
    "uppercase": b"X-Upper", "a space": b"x y", "a space after it": b"x ", "a tab": b"x\ty", "a colon": b"x:y",
    "CR": b"x\ry", "LF": b"x\ny", "NUL": b"x\0y", "DEL": b"x\x7fy", "not ASCII": b"x\xe4", "nothing": b"",
}  # fmt: skip
VALUES = {
    "CR": b"a\rb", "LF": b"a\nb", "NUL": b"a\0b", "CRLF": b"a\r\nx: y", "a space before it": b" a",
    "a space after it": b"a ", "a tab before it": b"\ta", "a tab after it": b"a\t",
}  # fmt: skip
FIELDS = [
    *(case(f"name with {what}", call_with_encoded(literal(name, "v")), MALFORMED) for what, name in NAMES.items()),
    *(case(f"value with {what}", call_with_encoded(literal("x", value)), MALFORMED) for what, value in VALUES.items()),
    *(case(f":path with {what}", call_with(*with_value(":path", f"/a{char}b")), MALFORMED) for what, char in (("CR", "\r"), ("LF", "\n"), ("NUL", "\0"))),
    case("a value of nothing", call_with_encoded(literal("x", "")), SERVED),
    case("a value that is not ASCII", call_with_encoded(literal("x", "\xe4 \xff")), SERVED),
    case("a value with a tab", call_with_encoded(literal("x", "a\tb")), SERVED),
    *(case(name, call_with_encoded(literal(name, value)), MALFORMED) for name, value in (("connection", "close"), ("connection", "x"), ("keep-alive", "5"), ("proxy-connection", "close"), ("transfer-encoding", "chunked"), ("transfer-encoding", "identity"), ("upgrade", "h2c"))),
    case("te: gzip", call_with(*PSEUDO, ("te", "gzip"), REGULAR[1]), MALFORMED),
    case("te: trailers, gzip", call_with(*PSEUDO, ("te", "trailers, gzip"), REGULAR[1]), MALFORMED),
    case("no te", call_with(*PSEUDO, REGULAR[1]), SERVED),
]  # fmt: skip

# 8.1: trailers, and the length of the content
BODIES = [
    case("trailers", trailers(("x", "y")), SERVED),
    case("trailers without the end", trailers(("x", "y"), flags=END_HEADERS), MALFORMED),
    case("trailers with a pseudo-header", trailers((":path", "/")), MALFORMED),
    case("trailers with an unknown pseudo-header", trailers((":x", "y")), MALFORMED),
    case("trailers with uppercase", trailers(("X", "y")), MALFORMED),
    case("trailers with LF", trailers(("x", "y\nz")), MALFORMED),
    case("trailers with a space before the value", trailers(("x", " y")), MALFORMED),
    case("trailers with te: gzip", trailers(("te", "gzip")), MALFORMED),
    case("trailers before the content-length is there", headers(1, LIVE, ("content-length", "6")) + frame(DATA, 0, 1, packed()) + frame(HEADERS, END_HEADERS | END_STREAM, 1, block([("x", "y")])), MALFORMED),
    case("trailers after the content-length", headers(1, LIVE, ("content-length", "5")) + frame(DATA, 0, 1, packed()) + frame(HEADERS, END_HEADERS | END_STREAM, 1, block([("x", "y")])), SERVED),
    case("trailers with connection", trailers(("connection", "close")), MALFORMED),
    case("content-length", call_of_length("5"), SERVED),
    case("content-length twice", call_of_length("5", "5"), {SERVED, MALFORMED}),
    case("content-length with padding", headers(1, LIVE, ("content-length", "5")) + frame(DATA, END_STREAM | PADDED, 1, b"\x03" + packed() + bytes(3)), SERVED),
    case("content-length that is too small", call_of_length("4"), MALFORMED),
    case("content-length that is too large", call_of_length("6"), MALFORMED),
    case("content-length 0 with a body", call_of_length("0"), MALFORMED),
    case("content-length of DATA that never comes", headers(1, LIVE, ("content-length", "5"), flags=END_HEADERS | END_STREAM), MALFORMED),
    case("content-length before it is all there", headers(1, LIVE, ("content-length", "3")) + frame(DATA, 0, 1, packed()), MALFORMED),
    case("two lengths", call_of_length("5", "6"), MALFORMED),
    case("a negative length", call_of_length("-5"), MALFORMED),
    case("a length with a sign", call_of_length("+5"), MALFORMED),
    case("a length that is no number", call_of_length("five"), MALFORMED),
    case("a length of 5,000 digits", call_of_length("9" * 5000), MALFORMED),
    case("a length that is a list", call_of_length("5, 5"), {SERVED, MALFORMED}),
]  # fmt: skip


@pytest.mark.parametrize("one", [*PSEUDO_HEADERS, *FIELDS, *BODIES])
def test_requests(server: Attacked, one: Case) -> None:
    check(server, one)
