"""Bytes of requests that are here: all protocols of a process share what there is room for."""

from __future__ import annotations

from math import inf


class ByteBudget:
    """For the event loop only."""

    __slots__ = ("held", "most")

    def __init__(self, most: float = inf) -> None:
        self.most = most
        self.held = 0

    def has(self, size: int) -> bool:
        return self.held + size <= self.most
