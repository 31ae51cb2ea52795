"""How settings about features are written."""

from __future__ import annotations

import json
from typing import Any

POLICIES = ("error", "null", "default")
STALE_POLICIES = (*POLICIES, "serve")


def parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def is_reference(text: str) -> bool:
    view, _, name = text.partition(":")
    return bool(view and name)


def references(text: str) -> tuple[str, ...]:
    found = parts(text)
    for one in found:
        if not is_reference(one):
            raise ValueError("expected references such as view:feature, separated by commas")
    return tuple(found)


def assignments(text: str) -> dict[str, str]:
    found = {}
    for one in parts(text):
        key, _, column = one.partition("=")
        if not key or ("=" in one and not column):
            raise ValueError("expected names such as driver_id or driver_id=driver, separated by commas")
        found[key] = column or key
    return found


def values(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError('expected a JSON object such as {"conv_rate": 0.0}')
    return found


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("expected a number of seconds, more than 0")
    return value
