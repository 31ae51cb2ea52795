"""Methods of gRPC, and what they know of their calls: both gRPC servers answer with the same ones."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, Protocol, TypeAlias

from predictors.grpc.transport.fields import Headers
from predictors.protocol.grpc_status import GrpcStatus
from predictors.telemetry.exchange import Exchange
from predictors.telemetry.ids import valid_ids

CONTENT_TYPES = {b"application/grpc", b"application/grpc+proto"}
TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
NO_SUCH_METHOD = "no such method; reflection lists them all"
INTERNAL_ERROR = "internal error; the server's log has the details"
PUSHBACK = "grpc-retry-pushback-ms"
MAX_DEADLINE = 30 * 24 * 3600.0  # seconds: event loops have no timers for ten thousand years


class Abort(Exception):
    """Ends a call with a status; `str(error)` is for the caller."""

    def __init__(self, status: GrpcStatus, details: str, retry_after: float | None = None) -> None:
        super().__init__(details)
        self.status = status
        self.retry_after = retry_after
        """Seconds until another try makes sense; gRPC's clients heed it when they retry."""

    @property
    def pushback(self) -> str | None:
        """`retry_after` as the field PUSHBACK has it."""
        return None if self.retry_after is None else str(ceil(self.retry_after * 1000))


class RpcCall(Protocol):
    """One gRPC call, whichever server it came to, as its method sees it."""

    exchange: Exchange | None
    decoded: Any
    """The request as the fast path has decoded it, for the slow path."""
    chosen: int
    """The number of the model that the fast path has chosen, for the slow path; 0 for none."""
    admitted: bool
    """Whether the guard has let it in."""
    closed: bool
    """Whether nothing more can be sent."""

    @property
    def head(self) -> Head: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def peer(self) -> str:
        """The address of the caller."""

    @property
    def seconds_left(self) -> float:
        """How long the caller waits; infinite where it does not say."""

    def observe(self) -> Exchange:
        """Begins the exchange and keeps it."""

    def reply(self, message: bytes) -> None:
        """Sends the one message of a successful unary call."""

    def fail(self, status: GrpcStatus, details: str) -> None:
        """Ends the call with a status in place of its reply."""

    def pass_on(self, message: bytes) -> None:
        """Runs the method itself, in a task."""


Unary: TypeAlias = "Callable[[RpcCall, bytes], Awaitable[bytes]]"
Streaming: TypeAlias = "Callable[[RpcCall, AsyncIterator[bytes]], AsyncIterator[bytes]]"
Quick: TypeAlias = "Callable[[RpcCall, bytes], None]"
Guard: TypeAlias = "Callable[[RpcCall], None]"
"""Sees a call before its messages; raises Abort, or sets `admitted` if its method need not ask again."""


@dataclass(frozen=True, slots=True)
class Method:
    """How calls of one method are answered: one message by one, or a stream by a stream."""

    unary: Unary | None = None
    streaming: Streaming | None = None
    quick: Quick | None = None
    """Answers without a task, now or later, or passes the call on to `unary`."""
    ended: Callable[[str], None] = lambda status: None
    """Called once with the status that a call ends with."""
    probe: bool = False
    """Asked again and again by machines: nothing to trace."""


@dataclass(frozen=True, slots=True)
class Head:
    path: str
    is_grpc: bool
    encoding: bytes
    timeout: float | None
    """Seconds that the caller waits for the end of the call."""
    metadata: tuple[tuple[str, str], ...]
    request_id: bytes
    traceparent: bytes


@lru_cache(maxsize=256)
def head_of(headers: Headers) -> Head:
    fields = dict(headers)
    metadata = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not name.startswith((b":", b"grpc-")) and name not in (b"te", b"content-type")
    )
    timeout = TIMEOUT.fullmatch(fields.get(b"grpc-timeout", b""))
    return Head(
        fields.get(b":path", b"").decode("latin-1"),
        fields.get(b"content-type", b"").partition(b";")[0].strip().lower() in CONTENT_TYPES,
        fields.get(b"grpc-encoding", b"identity"),
        min(int(timeout[1]) * SECONDS[timeout[2]], MAX_DEADLINE) if timeout else None,
        metadata,
        *valid_ids(headers),
    )
