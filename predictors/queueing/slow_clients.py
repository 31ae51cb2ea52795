"""Detection of slow clients: those that send too slowly, do not read their responses, or are idle.

Servers check their connections every `CHECK_INTERVAL`, so nothing is done per request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Protocol

log = logging.getLogger("predictors")

CHECK_INTERVAL = 1.0  # seconds
MIN_RATE = 8 * 1024  # bytes a second of a request that arrives
MAX_STALL = 60.0  # seconds for an HTTP/2 client that reads nothing, or does not begin
UNSEEN = -1.0


class Connection(Protocol):
    @property
    def transport(self) -> Any: ...

    def close_if_slow(self, now: float, seconds: float) -> None: ...


def close_slow(connections: Iterable[Connection], now: float, seconds: float) -> None:
    """Ends the connections of slow clients; nothing that goes wrong with one connection reaches the others."""
    for connection in connections:
        try:
            connection.close_if_slow(now, seconds)
        except Exception:
            log.exception("a connection is ended because it could not be checked")
            connection.transport.abort()


class Arrival:
    """The time since when checks have seen a request arriving."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since: float | None = UNSEEN
        """None while nothing arrives."""

    def begin(self) -> None:
        self.since = UNSEEN

    def end(self) -> None:
        self.since = None

    def is_slow(self, now: float, size: int, seconds: float) -> bool:
        """Whether it takes longer than `seconds` plus the time for the `size` bytes received so far."""
        if self.since is None:
            return False
        if self.since == UNSEEN:
            self.since = now
            return False
        return now - self.since > seconds + size / MIN_RATE


class Pause:
    """The time since when checks have seen a connection idle."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since = UNSEEN

    def is_over(self, now: float, seconds: float) -> bool:
        """Whether the client has sent nothing for longer than `seconds`."""
        if self.since == UNSEEN:
            self.since = now
            return False
        return now - self.since > seconds


class Backlog:
    """Bytes that a client has not read, and the time since when their number has not changed."""

    __slots__ = ("since", "size")

    def __init__(self) -> None:
        self.size, self.since = 0, 0.0

    def is_stuck(self, now: float, size: int, seconds: float) -> bool:
        """Whether the client has read nothing for longer than `seconds`."""
        if size == 0 or size != self.size:
            self.size, self.since = size, now
            return False
        return now - self.since > seconds
