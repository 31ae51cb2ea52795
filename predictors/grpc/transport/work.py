"""The budget for the work that a peer of an HTTP/2 connection causes beside its calls.

Calls are limited by admission. Other frames bring nothing, and clients need few of them: they are paid for out of a
budget, which grows with each answer and with time. Costs are in units of about a microsecond.
"""

from __future__ import annotations

import time

from predictors.grpc.transport.frames import ENHANCE_YOUR_CALM, ConnectionFault

MAX_BUDGET = 100_000  # a tenth of a second of work
BUDGET_PER_SECOND = MAX_BUDGET / 60  # connections may be days old, and only bursts are attacks
TURN = 2_000  # in one iteration of the event loop: other connections have their turn, too
UNCOUNTED = 300  # of a turn: so little that it does not matter if a transport reads again

# What is earned
ANSWER = 1000  # with a call that is answered, whatever the answer
MESSAGE = 20  # with each message that is sent
EARNING_SHIFT = 8  # and with each 256 bytes of data that the peer takes

# What it costs
CALL_COST = 20  # to answer; from the limit of a turn alone
SMALL_FRAME = 2  # control frames, and data that says nothing
FIELD = 4  # to decode and to check
BLOCK_SHIFT = 2  # and for each 4 bytes of a block, which may be Huffman coded
FREE_HEADERS = 500  # of a call; more is paid for
STREAMS_PER_UNIT = 4  # whose windows change together
REFUSAL = 5  # of a stream that the peer opens
RESET = 50  # a call that was begun for nothing
DATA_SHIFT = 8  # units for each 256 bytes of data; from the limit of a turn alone
IGNORED_SHIFT = 8  # and for each 256 bytes of a frame that nobody reads
MIN_DATA = 32  # bytes; a smaller frame in the middle of a message is paid for


class WorkBudget:
    def __init__(self) -> None:
        self.left: float = MAX_BUDGET
        self.earned = 0
        """What has been earned since the budget last grew."""
        self.grown_at = time.monotonic()

    def charge(self, cost: int) -> int:
        """Pays for work before it is done; returns its cost."""
        if cost > self.left:
            self.grow()
            if cost > self.left:
                raise ConnectionFault(ENHANCE_YOUR_CALM, "too much work for too few calls")
        self.left -= cost
        return cost

    def grow(self) -> None:
        now = time.monotonic()
        self.left = min(MAX_BUDGET, self.left + self.earned + (now - self.grown_at) * BUDGET_PER_SECOND)
        self.earned, self.grown_at = 0, now
