"""Request ids (`x-request-id`) and W3C's trace context (`traceparent`), which the caller may send.

Only short values of plain ASCII get into a response or a log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
NAMES = frozenset({REQUEST_ID, TRACEPARENT})
PLAIN = re.compile(rb"[!-~]{1,128}")  # visible ASCII: no line can be broken with it
# Later versions begin like the first one and may go on after another hyphen.
PARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")


class Ids(NamedTuple):
    """The identifiers of one request."""

    request_id: bytes
    traceparent: bytes = b""
    """Of version 00, or empty."""

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35].decode()

    @property
    def span_id(self) -> str:
        return self.traceparent[36:52].decode()

    @property
    def lines(self) -> bytes:
        """As lines in the head of an HTTP response."""
        if self.traceparent:
            return b"x-request-id: %b\r\ntraceparent: %b\r\n" % self
        return b"x-request-id: %b\r\n" % self.request_id

    @property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """As header fields."""
        both = ((REQUEST_ID, self.request_id), (TRACEPARENT, self.traceparent))
        return both if self.traceparent else both[:1]


def ids_of(headers: Iterable[tuple[bytes, bytes]]) -> Ids:
    """The ids that the caller sent; a request without an id gets a new one."""
    request_id, traceparent = valid_ids(headers)
    return Ids(request_id or new_id(), traceparent)


def valid_ids(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """The valid ids among the headers, whose names are in lower case; empty where there is none."""
    request_id, parents = b"", []
    for name, value in headers:
        if name == REQUEST_ID:
            request_id = value
        elif name == TRACEPARENT:
            parents.append(value)
    # Of two parents, either may be the wrong one.
    return request_id if PLAIN.fullmatch(request_id) else b"", normalized(parents[0]) if len(parents) == 1 else b""


def normalized(traceparent: bytes) -> bytes:
    """The fields of a trace context that all versions share, as version 00; empty if it is malformed."""
    match = PARENT.fullmatch(traceparent.strip(b" \t"))
    if match is None or (match[1] == b"00" and match[5] is not None):
        return b""
    return b"00-%b-%b-%b" % match.group(2, 3, 4)


prefix, numbers = b"", count(1)


def begin() -> None:
    """Gives the ids of this process a prefix of their own."""
    global prefix, numbers
    prefix, numbers = os.urandom(8).hex().encode(), count(1)


def new_id() -> bytes:
    return b"%b-%x" % (prefix, next(numbers))


begin()
os.register_at_fork(after_in_child=begin)
