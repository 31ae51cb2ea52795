"""A circuit breaker: after failures in a row nobody waits for what does not answer, and one after the other tries."""

from __future__ import annotations

import time
from enum import Enum


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One call tries."""


class Breaker:
    """For one event loop. Each call that `allows` let through ends in `succeeded`, `failed` or `undecided`."""

    def __init__(self, failures: int, rest_seconds: float) -> None:
        """Opens after so many failures in a row, 0 is never; tries again after so many seconds."""
        self.failures = failures
        self.rest_seconds = rest_seconds
        self.state = State.CLOSED
        self.in_a_row = 0
        self.rests_until = 0.0

    def allows(self) -> bool:
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN and time.monotonic() >= self.rests_until:
            self.state = State.HALF_OPEN
            return True
        return False

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.rests_until - time.monotonic())

    def succeeded(self) -> None:
        self.in_a_row = 0
        self.state = State.CLOSED

    def failed(self) -> None:
        if self.state is State.OPEN:
            return  # it was under way before
        self.in_a_row += 1
        if self.state is State.HALF_OPEN or (self.failures and self.in_a_row >= self.failures):
            self.state = State.OPEN
            self.rests_until = time.monotonic() + self.rest_seconds

    def undecided(self) -> None:
        """The caller left: if that was the try, the next one is."""
        if self.state is State.HALF_OPEN:
            self.state = State.OPEN
