"""Requests to a model with hooks of its own: KServe's types in, KServe's types out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from kserve.model import InferenceVerb

from predictors.model.kserve_types import prediction_of, request_of
from predictors.protocol import jsontext, v1, v2
from predictors.protocol.batch import Batch, Prediction, row_count
from predictors.protocol.errors import RequestError
from predictors.telemetry.exchange import current

if TYPE_CHECKING:
    from kserve import InferRequest

    from predictors.pipeline.pipeline import Pipeline
    from predictors.pipeline.served_model import ServedModel

Note: TypeAlias = Callable[[Batch, Prediction], None]


def prediction_note(size: int) -> Note | None:
    """The function that notes a prediction for the prediction log; None if the request is not sampled."""
    exchange = current.get()
    if exchange is None or not exchange.sampled:
        return None
    exchange.size = size

    def note(batch: Batch, prediction: Prediction) -> None:
        exchange.predicted = batch, prediction

    return note


async def hooked_v1(
    pipeline: Pipeline,
    served: ServedModel,
    body: bytes,
    headers: dict[str, str],
    verb: InferenceVerb = InferenceVerb.PREDICT,
    note: Note | None = None,
) -> tuple[bytes, int]:
    by_size = partial(pipeline.by_size, len(body))
    model = served.model
    payload = await by_size(lambda: jsontext.parse_object(body))
    response, _ = await model(payload, headers, verb)
    if not isinstance(response, dict):
        raise TypeError(f"the model's hooks answered a {type(response).__name__}, expected a dict")
    if note is not None:
        note(await by_size(lambda: decode_again(body)), read_response(response, model.name, served.loaded.version))
    rows = payload.get("instances")
    reply = await by_size(lambda: jsontext.dump(response, strict=pipeline.strict))
    return reply, len(rows) if isinstance(rows, list) else 1


async def hooked_v2(
    pipeline: Pipeline,
    served: ServedModel,
    body: bytes,
    header_length: str | None,
    headers: dict[str, str],
    note: Note | None = None,
) -> tuple[tuple[bytes, int | None], int]:
    def decode() -> tuple[Batch, InferRequest]:
        batch = v2.decode(body, header_length)
        return batch, request_of(batch, model.name)

    def encode() -> tuple[bytes, int | None]:
        if isinstance(response, dict):
            return jsontext.dump(response, strict=pipeline.strict), None
        return v2.encode(prediction, batch, strict=pipeline.strict)

    by_size = partial(pipeline.by_size, len(body))
    model, version = served.model, served.loaded.version
    batch, request = await by_size(decode)
    response, _ = await model(request, headers)
    in_json = isinstance(response, dict)
    prediction = read_response(response, model.name, version) if in_json else prediction_of(response, version)
    if note is not None:
        note(batch, prediction)
    return await by_size(encode), row_count(batch)


def decode_again(body: bytes) -> Batch:
    """Decodes the request again: hooks may have changed the payload that they got."""
    try:
        return v1.decode(body).unpacked()
    except RequestError:
        return Batch(rows=[jsontext.parse_object(body)])


def read_response(response: dict[str, Any], name: str, version: str) -> Prediction:
    """An answer in V1's shape, or in one of its own."""
    result = response.get("predictions", response)
    return Prediction(result, "predict", name, version, (), response.get("probabilities"))
