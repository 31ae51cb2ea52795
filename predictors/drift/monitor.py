"""`DriftMonitor`: the thread that measures drift while models are served, and publishes it as metrics."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from predictors.drift.samples import drift_samples
from predictors.drift.settings import DriftSettings
from predictors.drift.state import DriftState
from predictors.telemetry.metrics import publish_drift

log = logging.getLogger("predictors")


class DriftMonitor(threading.Thread):
    """Counts the samples of one process until `stopped`; the first process publishes the drift of all of them."""

    def __init__(
        self,
        settings: DriftSettings,
        index: int,
        states: Callable[[], Sequence[DriftState]],
        served: Callable[[], DriftState | None],
        stopped: Callable[[], bool],
    ) -> None:
        super().__init__(name="drift", daemon=True)
        self.settings = settings
        self.index = index
        self.states = states
        self.served = served
        """That of the model that answers, which is published."""
        self.stopped = stopped
        self.failed = False

    def run(self) -> None:
        last = time.monotonic()
        while not self.stopped():
            time.sleep(self.settings.drift_interval)
            now = time.monotonic()
            try:
                self.measure(now - last)
                self.failed = False
            except Exception:
                if not self.failed:  # once, not every second
                    log.exception("drift could not be measured")
                self.failed = True
            last = now
        if self.index == 0:
            publish_drift(self.settings.model_name, {})

    def measure(self, seconds: float) -> None:
        samples: Mapping[str, Any] = {}
        for state in self.states():
            state.count(seconds)
            if state is not self.served():
                continue
            if self.index == 0:
                name, version = self.settings.model_name, state.loaded.version
                samples = drift_samples(name, version, state.profile, state.total(), self.settings.drift_min_rows)
            else:
                state.share("window", state.window.total())
        if self.index == 0:
            publish_drift(self.settings.model_name, samples)
