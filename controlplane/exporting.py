"""OpenTelemetry's export of traces, by its standard variables, as the predictor has it."""

from __future__ import annotations

from dataclasses import dataclass

from predictors.telemetry.opentelemetry import Telemetry, begin

__all__ = ["Telemetry", "begin_export"]


@dataclass(frozen=True)
class ServiceIdentity:
    """How a control plane is called where no variable names it."""

    model_name: str = "mlflow-kserve-controlplane"
    workers: int = 1


def begin_export() -> Telemetry:
    """Traces alone: Prometheus has the metrics."""
    return begin(ServiceIdentity(), 0, signals=("traces",))
