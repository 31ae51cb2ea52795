"""Nested mappings that are merged and compared: what a patch names changes, and all else stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the patch applied as RFC 7396 says: null removes."""
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A mapping with one value at a path."""
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def value_at(data: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path, or None."""
    value: Any = data
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The paths whose values differ, with both values; None stands for nothing."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, Mapping) and new is None:
        yield from differences(old, {}, path)
    elif old is None and isinstance(new, Mapping):
        yield from differences({}, new, path)
    elif old != new:
        yield path, old, new
