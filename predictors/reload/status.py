"""What became of the last attempt to change the served model: in the metrics, the log and the model's properties."""

from __future__ import annotations

import logging

from predictors.pipeline.pipeline import Pipeline
from predictors.reload.failures import in_short
from predictors.telemetry.metrics import metrics

log = logging.getLogger("predictors")


class ReloadStatus:
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.state = pipeline.shared.reload
        self.outage = self.before_outage = ""
        """What the properties say while the registry fails, and what they said before."""

    @property
    def version(self) -> str:
        served = self.pipeline.served_models.current()
        return served.loaded.version if served else "none"

    def resume(self) -> None:
        """Says in another process what a leader has said that has ended."""
        self.set_failing(bool(self.state.failing))

    def succeeded(self, outcome: str, text: str) -> None:
        self.count(outcome)
        self.recovered()
        self.state.status = text
        log.info(text)

    def recovered(self) -> None:
        """The version that is wanted is served, with or without a reload."""
        self.set_failing(False)
        self.state.failed = self.state.status = ""

    def failed(self, what: str, error: Exception) -> None:
        self.count("failed")
        self.set_failing(True)
        self.state.status = f"{what} cannot be served: {in_short(error)}"
        log.error("%s; version %s keeps serving", self.state.status, self.version)

    def registry_failed(self, uri: str, error: Exception) -> None:
        """The log has a line for each failure that differs from the one before."""
        self.count("registry_error")
        if self.state.status != self.outage:
            self.before_outage = self.state.status
        outage = f"{uri} cannot be resolved: {in_short(error)}"
        if outage != self.outage:
            log.warning("%s; version %s keeps serving", outage, self.version)
        self.outage = self.state.status = outage

    def registry_answered(self) -> None:
        if not self.outage:
            return
        if self.state.status == self.outage:
            self.state.status = self.before_outage
        self.outage = self.before_outage = ""
        log.info("the registry answers again")

    def set_failing(self, failing: bool) -> None:
        self.state.failing = failing
        metrics().reload_failing.labels(self.pipeline.name).set(int(failing))

    def count(self, outcome: str) -> None:
        metrics().reloads.labels(self.pipeline.name, outcome).inc()
