"""The interface of sinks, and the report of what became of the records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import Protocol

from predictors.prediction_log.table import Table
from predictors.runtime.log_throttle import LogThrottle

log = logging.getLogger("predictors")


class Sink(Protocol):
    """Called from one thread. Its methods may block."""

    def ready(self) -> bool:
        """Whether it accepts another table; until then records wait in the queue."""

    def write(self, table: Table) -> None:
        """Writes a table, now or later; the result of its requests is reported then."""

    def tick(self, closing: bool) -> bool:
        """Writes what is due, or everything when closing; returns whether nothing remains."""


class SinkReport:
    """Counts the results of sinks, and logs their errors at most once a minute."""

    def __init__(self, count: Callable[[str, int], None]) -> None:
        self.count = count
        self.deadline = inf
        """When the process ends, by the monotonic clock."""
        self.errors = LogThrottle()

    def written(self, requests: int) -> None:
        self.count("written", requests)

    def failed(self, requests: int) -> None:
        self.count("failed", requests)

    def log_error(self, message: str, *arguments: object) -> None:
        if self.errors.due():
            log.error("prediction log: " + message, *arguments)
