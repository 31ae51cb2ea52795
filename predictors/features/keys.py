"""Placeholders for missing keys: Feast refuses a whole batch if one row lacks a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from predictors.features.store import Catalogue, FeatureStatus, Fetched

PLACEHOLDERS: Mapping[str, Any] = {"STRING": "", "BYTES": b"", "FLOAT": 0.0, "DOUBLE": 0.0, "BOOL": False}
"""By type; 0 for integers."""

MissingKeys: TypeAlias = Mapping[str, Sequence[int]]
"""By key, the rows that lack it."""


def placeholder(kind: str) -> Any:
    """A key that probably belongs to no entity."""
    return PLACEHOLDERS.get(kind, 0)


def complete_keys(
    catalogue: Catalogue, columns: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Sequence[Any]], MissingKeys]:
    """The columns for Feast with placeholders, and the rows that have them."""
    rows = len(next(iter(columns.values()), (None,)))  # views without entities have one row
    filled: dict[str, Sequence[Any]] = {}
    missing: dict[str, list[int]] = {}
    for key, kind in catalogue.keys.items():
        values = columns.get(key)
        if values is None:
            values = [None] * rows
        if any(value is None for value in values):
            missing[key] = [row for row, value in enumerate(values) if value is None]
            other = next((value for value in values if value is not None), placeholder(kind))
            values = [other if value is None else value for value in values]
        filled[key] = values
    filled.update((name, columns[name]) for name in catalogue.request_columns if name in columns)
    return filled, missing


def clear_missing(fetched: Fetched, catalogue: Catalogue, missing: MissingKeys) -> None:
    """Marks values as missing that were looked up with a placeholder."""
    for feature in catalogue.features:
        name = feature.full_name
        if name not in fetched.values:
            continue
        for key in feature.keys:
            for row in missing.get(key, ()):
                fetched.values[name][row] = None
                fetched.statuses[name][row] = FeatureStatus.MISSING
                fetched.timestamps[name][row] = 0.0
