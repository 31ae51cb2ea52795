"""Request ids (`x-request-id`) and W3C's trace context (`traceparent`): taken from the caller if they are sound.

Nothing that a caller sends gets into a reply or a log before it is known to be short and plain.
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
    """What one request is known by."""

    request_id: bytes
    traceparent: bytes = b""
    """Of version 00, or nothing."""

    @property
    def trace_id(self) -> str:
        return self.traceparent[3:35].decode()

    @property
    def span_id(self) -> str:
        return self.traceparent[36:52].decode()

    @property
    def lines(self) -> bytes:
        """As lines in the head of an HTTP reply."""
        if self.traceparent:
            return b"x-request-id: %b\r\ntraceparent: %b\r\n" % self
        return b"x-request-id: %b\r\n" % self.request_id

    @property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """As header fields."""
        known = ((REQUEST_ID, self.request_id), (TRACEPARENT, self.traceparent))
        return known if self.traceparent else known[:1]


def ids_of(headers: Iterable[tuple[bytes, bytes]]) -> Ids:
    """Those that the caller sent; a request without an id gets one."""
    request_id, traceparent = given(headers)
    return Ids(request_id or new_id(), traceparent)


def given(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """What is sound of what the caller sent, with lower-case names; else nothing."""
    request_id, parents = b"", []
    for name, value in headers:
        if name == REQUEST_ID:
            request_id = value
        elif name == TRACEPARENT:
            parents.append(value)
    # Nobody can say which of two parents is right.
    return request_id if PLAIN.fullmatch(request_id) else b"", sound(parents[0]) if len(parents) == 1 else b""


def sound(traceparent: bytes) -> bytes:
    """The part of a trace context that all versions share, as version 00; nothing if it is broken."""
    found = PARENT.fullmatch(traceparent.strip(b" \t"))
    if found is None or (found[1] == b"00" and found[5] is not None):
        return b""
    return b"00-%b-%b-%b" % found.group(2, 3, 4)


prefix, numbers = b"", count(1)


def begin() -> None:
    """Ids of this process begin with what no other has."""
    global prefix, numbers
    prefix, numbers = os.urandom(8).hex().encode(), count(1)


def new_id() -> bytes:
    return b"%b-%x" % (prefix, next(numbers))


begin()
os.register_at_fork(after_in_child=begin)
