"""Inputs that were ignored, in a counter and in a line of the log a minute."""

from __future__ import annotations

import logging

from predictors.protocol.ignored import Ignored
from predictors.runtime.log_throttle import LogThrottle
from predictors.telemetry.metrics import ignored_counter

log = logging.getLogger("predictors")


class IgnoredLog:
    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self.requests = LogThrottle()

    def note(self, ignored: Ignored) -> None:
        for kind in ignored:
            ignored_counter(self.model_name, kind).inc()
        if requests := self.requests.due():
            log.warning(
                "ignored what the model does not take in %d request%s to /invocations: %s (--strict-input refuses it)",
                requests,
                "s"[: requests > 1],
                ignored,
            )
