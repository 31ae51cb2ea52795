"""Requests to a model with hooks of its own: KServe's types in, KServe's types out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from kserve.model import InferenceVerb

from predictors.model.base import MLflowModel
from predictors.model.kserve_types import prediction_of, request_of
from predictors.model.loaded import Loaded
from predictors.protocol import jsontext, v1, v2
from predictors.protocol.batch import Batch, Prediction, row_count
from predictors.protocol.errors import RequestError
from predictors.telemetry.exchange import current

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
    model: MLflowModel,
    loaded: Loaded,
    body: bytes,
    headers: dict[str, str],
    verb: InferenceVerb = InferenceVerb.PREDICT,
    note: Note | None = None,
) -> tuple[bytes, int]:
    payload = jsontext.parse_object(body)
    response, _ = await model(payload, headers, verb)
    if not isinstance(response, dict):
        raise TypeError(f"the model's hooks answered a {type(response).__name__}, expected a dict")
    if note is not None:
        note(decode_again(body), read_response(response, model.name, loaded.version))
    rows = payload.get("instances")
    return jsontext.dump(response, strict=model.settings.nan == "error"), len(rows) if isinstance(rows, list) else 1


async def hooked_v2(
    model: MLflowModel,
    loaded: Loaded,
    body: bytes,
    header_length: str | None,
    headers: dict[str, str],
    note: Note | None = None,
) -> tuple[tuple[bytes, int | None], int]:
    batch, strict = v2.decode(body, header_length), model.settings.nan == "error"
    response, _ = await model(request_of(batch, model.name), headers)
    if isinstance(response, dict):
        if note is not None:
            note(batch, read_response(response, model.name, loaded.version))
        return (jsontext.dump(response, strict=strict), None), row_count(batch)
    prediction = prediction_of(response, loaded.version)
    if note is not None:
        note(batch, prediction)
    return v2.encode(prediction, batch, strict=strict), row_count(batch)


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
