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
        self.failing = False

    @property
    def version(self) -> str:
        served = self.pipeline.served_models.current()
        return served.loaded.version if served else "none"

    def succeeded(self, outcome: str, text: str) -> None:
        self.count(outcome)
        self.recovered()
        self.state.status = text
        log.info(text)

    def recovered(self) -> None:
        """The version that is wanted is served, with or without a reload."""
        self.failing = False
        self.state.status = ""
        metrics().reload_failing.labels(self.pipeline.name).set(0)

    def failed(self, what: str, error: Exception) -> None:
        self.count("failed")
        self.failing = True
        metrics().reload_failing.labels(self.pipeline.name).set(1)
        self.state.status = f"{what} cannot be served: {in_short(error)}"
        log.error("%s; version %s keeps serving", self.state.status, self.version)

    def registry_failed(self, uri: str, error: Exception) -> None:
        self.count("registry_error")
        self.state.status = f"{uri} cannot be resolved: {in_short(error)}"
        log.warning("%s; version %s keeps serving", self.state.status, self.version)

    def registry_recovered(self) -> None:
        self.state.status = ""
        log.info("the registry answers again")

    def count(self, outcome: str) -> None:
        metrics().reloads.labels(self.pipeline.name, outcome).inc()
