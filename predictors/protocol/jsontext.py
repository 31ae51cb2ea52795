"""JSON parsing and writing with orjson, and errors that say where the text is broken."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from predictors.protocol.errors import InvalidInput, ModelFailure

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def parse_object(body: bytes | memoryview, *, nonfinite: bool = False) -> dict[str, Any]:
    """The JSON object in a request body; with `nonfinite` it may hold NaN and Infinity, as Python writes them."""
    if not body:
        raise InvalidInput("the request body is empty: expected a JSON object")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        value = parse_nonfinite(bytes(body)) if nonfinite else None
        if isinstance(value, dict):
            return value
        named = not nonfinite and names_nonfinite(bytes(body), error.pos)
        hint = " (JSON has no NaN or Infinity: send null)" if named else ""
        raise InvalidInput(
            f"the request body is not valid JSON: line {error.lineno}, column {error.colno}{hint}"
        ) from None
    if not isinstance(value, dict):
        raise InvalidInput("the request body must be a JSON object")
    return value


def parse_nonfinite(body: bytes) -> Any:
    """JSON with NaN or Infinity; None if it is not JSON, or has neither."""
    if b"NaN" not in body and b"Infinity" not in body:
        return None
    try:
        return parse_as_python(body)
    except (ValueError, RecursionError):
        return None


def parse_as_python(text: bytes | str) -> Any:
    """JSON as Python's own parser has it; raises ValueError, or RecursionError if it is nested too deeply."""
    value = json.loads(text)
    if b"\\u" in text if isinstance(text, bytes) else "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate is no character
    return value


def may_hold_literals(body: bytes) -> bool:
    """Whether true, false or null may be in a JSON text: each has an r or an l. Fast; strings give false alarms."""
    return b"r" in body or b"l" in body


def names_nonfinite(body: bytes, position: int) -> bool:
    near = body[max(0, position - 2) : position + 12]
    return b"NaN" in near or b"Infinity" in near


def dump(value: Any, *, strict: bool = False) -> bytes:
    """JSON with null for NaN and infinity; if `strict`, they raise `ModelFailure`."""
    if strict and not is_finite(value):
        raise ModelFailure("the prediction holds NaN or infinity, which JSON cannot express")
    try:
        return orjson.dumps(value, option=OPTIONS, default=builtin)
    except TypeError as error:
        with suppress(TypeError, ValueError, RecursionError):
            if "64-bit" in str(error):
                return orjson.dumps(with_wide_integers(value), option=OPTIONS, default=builtin)
        raise ModelFailure(f"the prediction cannot be written as JSON: {error.__cause__ or error}") from error


def with_wide_integers(value: Any) -> Any:
    """The value with integers that orjson does not write as text that it copies."""
    if type(value) is int:
        return value if -(2**63) <= value < 2**64 else orjson.Fragment(str(value))
    if isinstance(value, dict):
        return {name: with_wide_integers(item) for name, item in value.items()}
    return [with_wide_integers(item) for item in value] if isinstance(value, (list, tuple)) else value


def is_missing(item: Any) -> bool:
    """Whether it is one of pandas' missing values."""
    return type(item).__name__ in ("NaTType", "NAType")


def is_finite(value: Any) -> bool:
    """Whether all numbers, at any depth, are finite."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def builtin(value: Any) -> Any:
    """A value that orjson does not know, as one that it does."""
    if is_missing(value):
        return None
    if hasattr(value, "tolist"):  # numpy scalars and arrays that orjson cannot write, pandas arrays
        return value.tolist()
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value)) if value.is_finite() else None
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
