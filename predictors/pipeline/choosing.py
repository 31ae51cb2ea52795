"""Who answers a request on the slow path where a candidate stands beside the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from predictors.pipeline.fast_path import MAX_FAST_BODY
from predictors.pipeline.served_model import Pair, ServedModel
from predictors.protocol.batch import Batch

if TYPE_CHECKING:
    from predictors.pipeline.pipeline import Pipeline


async def choose(
    pipeline: Pipeline,
    pair: Pair,
    headers: Iterable[tuple[bytes, bytes]],
    decode: Callable[[], Batch],
    size: float,
    decoded: Batch | None,
    number: int,
) -> tuple[ServedModel, Batch | None]:
    """The model or the candidate, and the request if it is decoded by now.

    `number` is that of the model that the fast path has chosen: nobody decides twice.
    """
    by_number = {served.number: served for served in (pair.model, pair.candidate)}
    if number in by_number:
        return by_number[number], decoded
    if pair.splitter.reads_rows and decoded is None:
        decoded = await decoded_apart(pipeline, decode, size)
    return pair.candidate if pair.splitter.picks(headers, decoded) else pair.model, decoded


async def decoded_apart(pipeline: Pipeline, decode: Callable[[], Batch], size: float) -> Batch | None:
    """None if it cannot be decoded: the model then fails over it, and the caller gets its words."""
    with pipeline.admission.slot():
        try:
            return decode() if size <= MAX_FAST_BODY else await pipeline.alone(decode)
        except Exception:
            return None
