"""The rules of RFC 9113 for header fields (8.1 to 8.3): a request that breaks one of them is malformed."""

from __future__ import annotations

import re
from typing import TypeAlias

Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"

NAME = re.compile(rb"[!-9;-@\[-~]+")  # visible ASCII without upper case and colons
BAD_VALUE = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]\Z")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*")
LENGTH = re.compile(rb"[0-9]{1,18}")
PSEUDO_HEADERS = frozenset({b":method", b":scheme", b":path", b":authority"})
CONNECTION_FIELDS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
ONLY_ONCE = frozenset({b"host", b"content-length"})
DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


class Malformed(Exception):
    """A request breaks a rule."""


def check_request(headers: Headers) -> int | None:
    """The length that a request announces, if it does."""
    fields: dict[bytes, bytes] = {}
    regular = False
    for name, value in headers:
        if name in PSEUDO_HEADERS:
            if regular:
                raise Malformed("a pseudo-header comes after other fields")
            if name in fields:
                raise Malformed("a pseudo-header comes twice")
            check_value(value)
        else:
            regular = True
            check_field(name, value)
            if name in ONLY_ONCE and name in fields:
                raise Malformed(f"{name.decode()} comes twice")
        fields[name] = value
    check_target(fields)
    return content_length(fields)


def check_trailers(headers: Headers) -> None:
    for name, value in headers:
        check_field(name, value)


def check_field(name: bytes, value: bytes) -> None:
    if not NAME.fullmatch(name):
        raise Malformed("a name has upper case, a colon, blanks or control characters, or is an unknown pseudo-header")
    if name in CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed(f"{name.decode()} is for connections of HTTP/1.1")
    check_value(value)


def check_value(value: bytes) -> None:
    if BAD_VALUE.search(value):
        raise Malformed("a value has CR, LF, NUL or blanks around it")


def check_target(fields: dict[bytes, bytes]) -> None:
    """The method, and what it is asked of."""
    method, scheme, path = fields.get(b":method"), fields.get(b":scheme"), fields.get(b":path")
    if method is None or not TOKEN.fullmatch(method):
        raise Malformed("no valid :method")
    if method == b"CONNECT":
        if scheme is not None or path is not None or not fields.get(b":authority"):
            raise Malformed("CONNECT has :authority and neither :scheme nor :path")
        return
    if scheme is None or not SCHEME.fullmatch(scheme):
        raise Malformed("no valid :scheme")
    if path is None or not (path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")):
        raise Malformed("no valid :path")
    check_host(fields, scheme)


def check_host(fields: dict[bytes, bytes], scheme: bytes) -> None:
    authority, host = fields.get(b":authority"), fields.get(b"host")
    if authority is None or host is None or authority == host:
        return
    port = DEFAULT_PORTS.get(scheme.lower(), b"")
    if authority.lower().removesuffix(port) != host.lower().removesuffix(port):
        raise Malformed("host and :authority differ")


def content_length(fields: dict[bytes, bytes]) -> int | None:
    value = fields.get(b"content-length")
    if value is None:
        return None
    if not LENGTH.fullmatch(value):
        raise Malformed("content-length is no number")
    return int(value)
