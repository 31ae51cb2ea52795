"""What a connection remembers of streams that are closed: late frames are honest on some and a fault on others."""

from __future__ import annotations

from collections import deque

MAX_REMEMBERED = 1024


class ClosedStreams:
    """Streams that this server closed while the peer was sending, and numbers that the peer left out.

    Only the latest are remembered. Frames on those that are forgotten are taken for honest.
    """

    def __init__(self) -> None:
        self.unfinished: dict[int, None] = {}
        self.forgotten = 0
        """The highest number that was unfinished once and is not remembered."""
        self.left_out: deque[range] = deque(maxlen=MAX_REMEMBERED)

    def close(self, number: int) -> None:
        """The peer may be sending on this stream, because it does not know yet that the stream is closed."""
        self.unfinished[number] = None
        if len(self.unfinished) > MAX_REMEMBERED:
            oldest = next(iter(self.unfinished))
            del self.unfinished[oldest]
            self.forgotten = max(self.forgotten, oldest)

    def finish(self, number: int) -> None:
        """The peer has sent all, or knows that the stream is closed."""
        self.unfinished.pop(number, None)

    def may_send(self, number: int) -> bool:
        return number <= self.forgotten or number in self.unfinished

    def leave_out(self, last: int, number: int) -> None:
        """The peer opened the stream `number` after the stream `last`."""
        self.left_out.append(range(last + 1 | 1, number, 2))

    def was_left_out(self, number: int) -> bool:
        return any(number in numbers for numbers in self.left_out)
