"""Bytes in V1's JSON, as TensorFlow Serving has them: `{"b64": "…"}` wherever a value may stand."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from predictors.protocol.errors import InvalidInput

KEY = "b64"
MARK = b'"b64"'
MAX_DEPTH = 32  # levels of lists and objects


def may_hold_bytes(body: bytes) -> bool:
    return MARK in body


def with_bytes(value: Any, depth: int = 0) -> Any:
    """The value with bytes in the place of each `{"b64": …}`."""
    if depth > MAX_DEPTH:
        return value
    if type(value) is list:
        return [with_bytes(item, depth + 1) for item in value]
    if type(value) is not dict:
        return value
    if len(value) == 1 and KEY in value:
        return decoded(value[KEY])
    return {name: with_bytes(item, depth + 1) for name, item in value.items()}


def decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise InvalidInput(f"'{KEY}': expected bytes as base64") from None
