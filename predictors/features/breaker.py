"""A circuit breaker: after consecutive failures calls are refused at once, until a single trial call succeeds."""

from __future__ import annotations

import time
from enum import Enum


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """A trial call is in progress."""


class Breaker:
    """For one event loop. Each call that `allows` admits ends with `succeeded`, `failed` or `undecided`."""

    def __init__(self, failures: int, open_seconds: float) -> None:
        """Opens after `failures` in a row (0: never), and admits a trial call after `open_seconds`."""
        self.failures = failures
        self.open_seconds = open_seconds
        self.state = State.CLOSED
        self.consecutive = 0
        self.open_until = 0.0

    def allows(self) -> bool:
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN and time.monotonic() >= self.open_until:
            self.state = State.HALF_OPEN
            return True
        return False

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.open_until - time.monotonic())

    def succeeded(self) -> None:
        self.consecutive = 0
        self.state = State.CLOSED

    def failed(self) -> None:
        if self.state is State.OPEN:
            return  # the call began before the circuit opened
        self.consecutive += 1
        if self.state is State.HALF_OPEN or (self.failures and self.consecutive >= self.failures):
            self.state = State.OPEN
            self.open_until = time.monotonic() + self.open_seconds

    def undecided(self) -> None:
        """The call was cancelled: if it was the trial, the next call is one."""
        if self.state is State.HALF_OPEN:
            self.state = State.OPEN
