"""JSON parsing and writing with orjson, and errors that say where the text is broken."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from predictors.protocol.errors import InvalidInput, ModelFailure
from predictors.protocol.json_pieces import Packing, parse_and_pack, parse_in_pieces

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
LARGE = 256 * 1024  # bytes of a text that is parsed in pieces
BLOCK = 2**16  # numbers that are written at a time


def parse_object(body: bytes | memoryview, *, nonfinite: bool = False) -> dict[str, Any]:
    """The JSON object in a request body; with `nonfinite` it may hold NaN and Infinity, as Python writes them."""
    return object_of(body, parse_in_pieces, nonfinite=nonfinite)


def parse_packed(
    body: bytes, may_be_packed: Callable[[dict[str, Any], dict[str, Any], str], bool], *, nonfinite: bool = False
) -> dict[str, Any]:
    """Likewise; in a large one, lists of numbers or of rows of numbers may be `PackedRows`.

    `may_be_packed` says where, from the whole object, the object that holds the list, and its key there.
    """
    packings: list[Packing] = []

    def parse(body: bytes, loads: Callable[[bytes], Any]) -> Any:
        value, found = parse_and_pack(body, loads)
        packings.extend(found)
        return value

    payload = object_of(body, parse, nonfinite=nonfinite)
    for packing in packings:
        if not may_be_packed(payload, packing.parent, packing.key):
            packing.undo()
    return payload


def object_of(
    body: bytes | memoryview, parse_large: Callable[[bytes, Callable[[bytes], Any]], Any], *, nonfinite: bool
) -> dict[str, Any]:
    if not body:
        raise InvalidInput("the request body is empty: expected a JSON object")
    loads = loads_nonfinite if nonfinite else orjson.loads
    try:
        value = loads(body) if len(body) <= LARGE else parse_large(bytes(body), loads)
    except orjson.JSONDecodeError as error:
        named = not nonfinite and names_nonfinite(bytes(body), error.pos)
        hint = " (JSON has no NaN or Infinity: send null)" if named else ""
        raise InvalidInput(
            f"the request body is not valid JSON: line {error.lineno}, column {error.colno}{hint}"
        ) from None
    if not isinstance(value, dict):
        raise InvalidInput("the request body must be a JSON object")
    return value


def loads_nonfinite(body: bytes | memoryview) -> Any:
    """JSON that may hold NaN and Infinity; raises orjson's error."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = bytes(body)
        if b"NaN" not in text and b"Infinity" not in text:
            raise
        with suppress(ValueError, RecursionError):
            return parse_as_python(text)
        raise


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


class LargeArray(np.ndarray[Any, Any]):
    """An array that is written in blocks: orjson does not know the class, and asks `builtin`."""


def in_blocks(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array, to be written in blocks if it is large: other threads have their turn in between."""
    return array.view(LargeArray) if array.size > BLOCK and len(array) > 1 else array


def text_in_blocks(array: LargeArray) -> orjson.Fragment:
    rows = max(1, BLOCK * len(array) // array.size)
    blocks = (np.asarray(array[i : i + rows]) for i in range(0, len(array), rows))
    return orjson.Fragment(b"[%b]" % b",".join([orjson.dumps(block, option=OPTIONS)[1:-1] for block in blocks]))


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
    if isinstance(value, LargeArray):
        return text_in_blocks(value)
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
