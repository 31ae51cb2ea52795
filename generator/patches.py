"""JSON patches (RFC 6902) and merge patches (RFC 7386) from one object to another. Lists are replaced as a whole.

A cluster may add items to a list or reorder it, so patches never rely on positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Operation = dict[str, Any]


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that turns `old` into `new` when merged."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif isinstance(value, Mapping) and isinstance(old[key], Mapping):
            if inner := merge_patch(old[key], value):
                patch[key] = inner
        elif value != old[key]:
            patch[key] = value
    return patch


def json_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Operation]:
    """The operations that turn `old` into `new`."""
    return list(operations(old, new, ""))


def operations(old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[Operation]:
    for key in old:
        if key not in new:
            yield {"op": "remove", "path": f"{at}/{escaped(key)}"}
    for key, value in new.items():
        path = f"{at}/{escaped(key)}"
        if key not in old:
            yield {"op": "add", "path": path, "value": value}
        elif isinstance(value, Mapping) and isinstance(old[key], Mapping):
            yield from operations(old[key], value, path)
        elif value != old[key]:
            yield {"op": "replace", "path": path, "value": value}


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
