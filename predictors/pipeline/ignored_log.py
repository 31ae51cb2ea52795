"""Inputs that were ignored, in a counter and in a line of the log a minute."""

from __future__ import annotations

import logging
import time

from predictors.protocol.ignored import Ignored
from predictors.telemetry.metrics import ignored_counter

log = logging.getLogger("predictors")

LOG_INTERVAL = 60.0  # seconds


class IgnoredLog:
    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self.requests = 0
        """Since the last line."""
        self.next_line = 0.0

    def note(self, ignored: Ignored) -> None:
        for kind in ignored:
            ignored_counter(self.model_name, kind).inc()
        self.requests += 1
        now = time.monotonic()
        if now >= self.next_line:
            log.warning(
                "ignored what the model does not take in %d request%s to /invocations: %s (--strict-input refuses it)",
                self.requests,
                "s"[: self.requests > 1],
                ignored,
            )
            self.requests, self.next_line = 0, now + LOG_INTERVAL
