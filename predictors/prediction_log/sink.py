"""What the prediction log writes to, and how it hears what became of the records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from typing import Protocol

from predictors.prediction_log.table import Table

log = logging.getLogger("predictors")

QUIET = 60.0  # seconds between two lines about the same trouble


class Sink(Protocol):
    """Called from one thread; may block."""

    def ready(self) -> bool:
        """Whether it takes more; what is not taken waits in the queue."""

    def write(self, table: Table) -> None:
        """Takes a table; its outcome is told sooner or later."""

    def tick(self, closing: bool) -> bool:
        """Does what is due; when closing, all that is left. Whether nothing is left."""


class SinkReport:
    """What sinks tell; for all of them, trouble is logged once a minute."""

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        self.tell = tell
        self.deadline = inf
        """When the process ends, by the monotonic clock."""
        self.said = -QUIET

    def written(self, requests: int) -> None:
        self.tell("written", requests)

    def failed(self, requests: int) -> None:
        self.tell("failed", requests)

    def trouble(self, words: str, *arguments: object) -> None:
        now = time.monotonic()
        if now - self.said >= QUIET:
            self.said = now
            log.error("prediction log: " + words, *arguments)
