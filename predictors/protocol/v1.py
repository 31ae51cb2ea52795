"""KServe's V1 protocol: `{"instances": …}` or `{"inputs": …}` → `{"predictions": …}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from predictors.protocol import jsontext, results
from predictors.protocol.base64_values import may_hold_bytes, with_bytes
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import json_type
from predictors.protocol.errors import InvalidInput
from predictors.protocol.names import closest
from predictors.protocol.options import Options, read_options
from predictors.protocol.packed_rows import is_list

KEYS = ("instances", "inputs", "parameters", "signature_name")


def decode(body: bytes) -> Batch:
    if may_hold_bytes(body):
        payload = {key: with_bytes(value) for key, value in jsontext.parse_object(body).items()}
    else:
        payload = jsontext.parse_packed(body, holds_rows)
    batch = decode_object(payload)
    batch.literals = jsontext.may_hold_literals(body)
    return batch


def holds_rows(payload: dict[str, Any], parent: dict[str, Any], key: str) -> bool:
    """Whether a list is the rows of a request, or a column."""
    return (parent is payload and key in ("instances", "inputs")) or parent is payload.get("inputs")


def decode_object(payload: Mapping[str, Any]) -> Batch:
    unknown = [key for key in payload if key not in KEYS]
    forms = [key for key in ("instances", "inputs") if key in payload]
    if not forms:
        close = closest(unknown[0], KEYS) if unknown else None
        hint = f" (did you mean '{close}' rather than '{unknown[0]}'?)" if close else ""
        raise InvalidInput(f"missing 'instances': expected a list of rows or records{hint}")
    if len(forms) > 1:
        raise InvalidInput("'instances' and 'inputs' exclude each other")
    if unknown:
        raise InvalidInput(f"unknown key '{unknown[0]}'; expected {', '.join(KEYS[:3])}")
    options = read_options(payload.get("parameters"), "parameters")
    if "instances" in payload:
        rows = payload["instances"]
        if not is_list(rows):
            raise InvalidInput(f"'instances' must be a list of rows or records, got {json_type(rows)}")
        if not rows:
            raise InvalidInput("'instances' is empty: expected at least one row")
        return batch_of(options, rows=rows)
    return decode_columns(payload["inputs"], options)


def decode_columns(inputs: Any, options: Options, key: str = "inputs") -> Batch:
    """The value of `key`: an object of columns, or one tensor as a nested list."""
    if isinstance(inputs, dict):
        for name, values in inputs.items():
            if not is_list(values):
                raise InvalidInput(f"input '{name}': expected a list with a value per row, got {json_type(values)}")
        if not inputs or not all(inputs.values()):
            raise InvalidInput(f"'{key}' is empty: expected at least one column with at least one row")
        return batch_of(options, columns=inputs)
    if not is_list(inputs):
        raise InvalidInput(f"'{key}' must be an object of columns or a list of rows, got {json_type(inputs)}")
    if not inputs:
        raise InvalidInput(f"'{key}' is empty: expected at least one row")
    return batch_of(options, rows=inputs)


def batch_of(options: Options, *, rows: Any = None, columns: dict[str, Any] | None = None) -> Batch:
    return Batch(
        columns=columns,
        rows=rows,
        method=options.method,
        probabilities=options.probabilities,
        params=options.params,
    )


def encode_object(prediction: Prediction) -> dict[str, Any]:
    reply = {
        "predictions": results.jsonable(prediction.result),
        "model_name": prediction.model_name,
        "model_version": prediction.model_version,
    }
    if prediction.probabilities is not None:
        reply["probabilities"] = results.jsonable(prediction.probabilities)
    return reply


def encode(prediction: Prediction, *, strict: bool = False) -> bytes:
    return jsontext.dump(encode_object(prediction), strict=strict)


def encode_error(message: str) -> bytes:
    return jsontext.dump({"error": message})
