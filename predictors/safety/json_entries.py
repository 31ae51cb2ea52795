"""The keys and values of a JSON document, whatever its form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def walk_entries(document: Any) -> Iterator[tuple[str, Any]]:
    """Every value, at any depth, with the nearest key above it. Texts that are JSON are parsed.

    YAML's aliases may name a container in many places, also in itself: under one key it is walked once.
    """
    walked: dict[tuple[int, str], Any] = {}  # holds the containers, as another one could get the id of a forgotten one

    def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, str) and value[:1] in ("[", "{"):
            try:
                value = json.loads(value)
            except ValueError:
                pass
        yield key, value
        if not isinstance(value, (Mapping, list, tuple)) or (id(value), key) in walked:
            return
        walked[id(value), key] = value
        entries = value.items() if isinstance(value, Mapping) else ((key, child) for child in value)
        for name, child in entries:
            yield from walk(child, str(name))

    return walk(document, "")
