"""The HTTP protocols as pairs of decoder and encoder, used by the fast path and the slow path alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from predictors.protocol import invocations, v1, v2
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.ignored import Ignored


@dataclass(frozen=True, slots=True)
class Codec:
    protocol: str
    decode: Callable[[bytes, str | None], Batch]
    """From the body, and the length of its JSON if binary data follows it."""
    encode: Callable[[Prediction, Batch, bool], tuple[bytes, int | None]]
    """The reply, and the length of its JSON if binary data follows it. The last argument makes NaN an error."""
    binary: bool = False
    """Whether the protocol allows binary data after the JSON."""


V1 = Codec(
    "v1",
    lambda body, split: v1.decode(body),
    lambda prediction, batch, strict: (v1.encode(prediction, strict=strict), None),
)
V2 = Codec("v2", v2.decode, lambda prediction, batch, strict: v2.encode(prediction, batch, strict=strict), binary=True)
INVOCATIONS = Codec(
    "invocations",
    lambda body, split: invocations.decode_json(body, Ignored()),
    lambda prediction, batch, strict: (invocations.encode(prediction, bare=batch.bare, strict=strict), None),
)
STRICT_INVOCATIONS = replace(INVOCATIONS, decode=lambda body, split: invocations.decode_json(body))
