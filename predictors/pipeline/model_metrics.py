"""Metrics of the model that answers: which one it is, and how it was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.model.loaded import Loaded
from predictors.telemetry.metrics import RELOAD_OUTCOMES, metrics

if TYPE_CHECKING:
    from prometheus_client import Gauge


def model_loaded(name: str, loaded: Loaded) -> None:
    for gauge in identity(name, loaded):
        gauge.set(1)
    metrics().load_seconds.labels(name, loaded.version).set(loaded.load_seconds)
    # There from the beginning, so that alerts need not guess and rates see the first one.
    metrics().reload_failing.labels(name)
    for outcome in RELOAD_OUTCOMES:
        metrics().reloads.labels(name, outcome)


def model_unloaded(name: str, loaded: Loaded) -> None:
    """Another model answers now; the counters of this one stay."""
    for gauge in identity(name, loaded):
        gauge.set(0)


def identity(name: str, loaded: Loaded) -> list[Gauge]:
    """The gauges that say which model answers."""
    labels, content = (name, loaded.version), loaded.mlmodel.content
    return [
        metrics().loaded.labels(*labels),
        metrics().engine.labels(*labels, loaded.choice.name, loaded.choice.reason),
        metrics().info.labels(
            *labels,
            loaded.flavor,
            loaded.source.resolved_uri,
            str(content.get("run_id") or ""),
            str(content.get("mlflow_version") or ""),
        ),
    ]
