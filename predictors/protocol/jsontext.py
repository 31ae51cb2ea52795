"""JSON in and out: orjson, with errors that say where the text is broken."""

from __future__ import annotations

from typing import Any

import orjson

from predictors.protocol.errors import InvalidInput


def parse_object(body: bytes | memoryview) -> dict[str, Any]:
    """The JSON object in a request body."""
    if not body:
        raise InvalidInput("the request body is empty: expected a JSON object")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = " (JSON has no NaN or Infinity: send null)" if not_json_number(bytes(body), error.pos) else ""
        raise InvalidInput(
            f"the request body is not valid JSON: line {error.lineno}, column {error.colno}{hint}"
        ) from None
    if not isinstance(value, dict):
        raise InvalidInput("the request body must be a JSON object")
    return value


def not_json_number(body: bytes, position: int) -> bool:
    near = body[max(0, position - 2) : position + 12]
    return b"NaN" in near or b"Infinity" in near


def dump(value: Any) -> bytes:
    """JSON without NaN or infinity: orjson writes null for them."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS, default=plain)


def plain(value: Any) -> Any:
    """What orjson does not know by itself."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays that orjson does not take, pandas arrays
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, (bytes, bytearray)):
        import base64

        return base64.b64encode(value).decode()
    raise TypeError(f"a value of type {type(value).__name__} cannot be written as JSON")
