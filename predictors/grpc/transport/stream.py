"""One request and its reply on an HTTP/2 connection."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from predictors.grpc.transport.fields import Headers
from predictors.queueing.slow_clients import Arrival, Backlog

if TYPE_CHECKING:
    from predictors.grpc.transport.connection import Http2Connection


class Stream:
    """Subclasses handle its headers, its data and its end."""

    arrival: Arrival | None = None
    """Its own once a check has seen it arriving."""
    backlog: Backlog | None = None
    """Likewise, of the data that flow control holds back."""
    content_left: int | None = None
    """Bytes of data that are still to come, where the request announced its length."""

    def __init__(self, connection: Http2Connection, number: int, headers: Headers) -> None:
        self.connection = connection
        self.number = number
        self.headers = headers
        self.send_window = connection.peer_window
        self.received = 0
        """Bytes of the window that the peer has used up."""
        self.inflated = 0
        """Bytes that it holds beside those."""
        self.consumed = 0
        """Of those received, the bytes that have been processed and not yet returned to the window."""
        self.waiting: deque[tuple[bytes | memoryview, bool]] = deque()
        """Output that flow control holds back: bytes of data, or a whole frame of trailers."""
        self.closed = False
        """No more of it goes out."""
        self.ended = False
        """No more of it comes in."""

    def begin(self) -> None:
        """The connection knows of the stream."""
        raise NotImplementedError

    def data(self, chunk: bytes) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """The peer has sent all."""
        raise NotImplementedError

    def cancelled(self) -> None:
        """The peer, or the connection, has gone."""

    def too_slow(self) -> None:
        """It has been arriving for too long."""

    def budget_exhausted(self) -> None:
        """All requests together hold too many bytes."""
        raise NotImplementedError

    def drained(self) -> None:
        """Nothing waits any more."""
