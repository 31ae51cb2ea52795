"""Telemetry and the prediction log of one process, from before the model is loaded to after the last request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from predictors.pipeline.pipeline import Pipeline
from predictors.pipeline.settings import Settings
from predictors.telemetry import opentelemetry

if TYPE_CHECKING:
    from predictors.prediction_log.log import PredictionLogger

MIN_EXPORT_SECONDS, MAX_EXPORT_SECONDS = 0.5, 5
MIN_LOG_SECONDS = 2  # also when requests have used up the grace period


class Exporters:
    """What sends records of requests elsewhere."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.telemetry = opentelemetry.Telemetry()
        self.prediction_log: PredictionLogger | None = None

    def start(self, pipeline: Pipeline) -> None:
        """Takes a while, since it imports libraries: not for the event loop."""
        self.telemetry = opentelemetry.begin(self.settings, pipeline.index)
        pipeline.observer.use(self.telemetry.tracing)
        if self.settings.prediction_log:
            from predictors.prediction_log.log import PredictionLogger

            self.prediction_log = PredictionLogger(self.settings, pipeline.shared)
            pipeline.observer.record(self.prediction_log, self.settings.prediction_log_sample)

    async def close(self, seconds: float) -> bool:
        """Sends what is left, within these seconds; False if a thread is still trying to."""
        export_seconds = min(max(seconds, MIN_EXPORT_SECONDS), MAX_EXPORT_SECONDS)
        exported = asyncio.to_thread(self.telemetry.close, export_seconds)
        if self.prediction_log is None:
            await exported
            return True
        written = asyncio.to_thread(self.prediction_log.close, max(seconds, MIN_LOG_SECONDS))
        complete, _ = await asyncio.gather(written, exported)
        return complete
