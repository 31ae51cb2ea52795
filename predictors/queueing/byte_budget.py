"""A bound on the bytes of the requests in flight, shared by all protocols of a process."""

from __future__ import annotations

from math import inf


class BudgetExhausted(Exception):
    """All requests together would hold too many bytes."""


class ByteBudget:
    """Used on the event loop only."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: float = inf) -> None:
        self.limit = limit
        self.held = 0

    def has(self, size: int) -> bool:
        return self.held + size <= self.limit
