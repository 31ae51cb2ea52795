"""A sampled request as the event loop queues it: references only, since copying would delay requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from predictors.telemetry.exchange import Exchange

if TYPE_CHECKING:
    from predictors.protocol.batch import Batch, Prediction
    from predictors.signature.matrix import MatrixPlan
    from predictors.signature.plan import SignaturePlan


@dataclass(frozen=True, slots=True)
class Record:
    started: int
    """Nanoseconds since the epoch."""
    duration: int
    """Nanoseconds."""
    request_id: bytes
    protocol: str
    role: str
    """Of the model that predicted: model, candidate or shadow."""
    plan: SignaturePlan
    matrix: MatrixPlan | None
    """With the plan all that is needed of the model, which may be unloaded before the record is written."""
    batch: Batch
    prediction: Prediction
    size: int
    """Bytes of the request and its reply."""


def record_of(exchange: Exchange, batch: Batch, prediction: Prediction, duration: int, size: int) -> Record:
    loaded = exchange.loaded
    return Record(
        exchange.started, duration, exchange.ids.request_id, exchange.protocol, exchange.role, loaded.plan,
        loaded.matrix, batch, prediction, size,
    )  # fmt: skip
