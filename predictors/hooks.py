"""The way of a request through somebody's own hooks: KServe's types in, KServe's types out."""

from __future__ import annotations

from kserve.model import InferenceVerb

from predictors.kserve_types import prediction_of, request_of
from predictors.model import Loaded, MLflowModel
from predictors.pipeline import row_count
from predictors.protocol import jsontext, v2


async def hooked_v1(
    model: MLflowModel, body: bytes, headers: dict[str, str], verb: InferenceVerb = InferenceVerb.PREDICT
) -> tuple[bytes, int]:
    payload = jsontext.parse_object(body)
    response, _ = await model(payload, headers, verb)
    if not isinstance(response, dict):
        raise TypeError(f"the model's hooks answered a {type(response).__name__}, expected a dict")
    rows = payload.get("instances")
    return jsontext.dump(response, strict=model.settings.nan == "error"), len(rows) if isinstance(rows, list) else 1


async def hooked_v2(
    model: MLflowModel, loaded: Loaded, body: bytes, header_length: str | None, headers: dict[str, str]
) -> tuple[tuple[bytes, int | None], int]:
    batch, strict = v2.decode(body, header_length), model.settings.nan == "error"
    response, _ = await model(request_of(batch, model.name), headers)
    if isinstance(response, dict):
        return (jsontext.dump(response, strict=strict), None), row_count(batch)
    return v2.encode(prediction_of(response, loaded.version), batch, strict=strict), row_count(batch)
