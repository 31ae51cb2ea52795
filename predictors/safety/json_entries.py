"""The keys and values of a JSON document, whatever its form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def walk_entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value, at any depth, with the nearest key above it. Texts that are JSON are parsed."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError:
            pass
    yield key, value
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from walk_entries(child, str(name))
    elif isinstance(value, (list, tuple)):
        for child in value:
            yield from walk_entries(child, key)
