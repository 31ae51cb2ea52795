"""Who answers a request on the slow path where a candidate stands beside the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from predictors.pipeline.served_model import Pair, ServedModel
from predictors.protocol.batch import Batch
from predictors.telemetry.exchange import current

if TYPE_CHECKING:
    from predictors.candidate.shadow import ShadowRunner
    from predictors.pipeline.pipeline import Pipeline

MAX_SHADOWED_BODY = 256 * 1024  # bytes


async def choose(
    pipeline: Pipeline,
    pair: Pair,
    headers: Iterable[tuple[bytes, bytes]],
    decode: Callable[[], Batch],
    size: int,
    decoded: Batch | None,
    number: int,
    *,
    inline: bool = True,
) -> tuple[ServedModel, Batch | None]:
    """The model or the candidate, and the request if it is decoded by now.

    `number` is that of the model that the fast path has chosen: nobody decides twice.
    """
    by_number = {served.number: served for served in (pair.model, pair.candidate)}
    if number in by_number:
        return by_number[number], decoded
    if pair.shadow is not None:
        begin_shadow(pair.shadow, headers, size)
        return pair.model, decoded
    if pair.splitter.reads_rows and decoded is None:
        decoded = await decoded_first(pipeline, decode, size, inline=inline)
    return pair.candidate if pair.splitter.picks(headers, decoded) else pair.model, decoded


async def decoded_first(pipeline: Pipeline, decode: Callable[[], Batch], size: int, *, inline: bool) -> Batch | None:
    """None if it cannot be decoded: the model then fails over it, and the caller gets its words."""
    with pipeline.admission.slot():
        try:
            return await pipeline.by_size(size, lambda: decode().unpacked(), inline=inline)
        except Exception:
            return None


def begin_shadow(shadow: ShadowRunner, headers: Iterable[tuple[bytes, bytes]], size: int) -> None:
    """Has the current request offered to the shadow once it has been answered; large ones are too dear to keep."""
    exchange = current.get()
    if exchange is None or not shadow.wants(headers):
        return
    if size <= MAX_SHADOWED_BODY:
        exchange.shadow = shadow
    else:
        shadow.drop()
