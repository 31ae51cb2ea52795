"""Rows whose keys are not all given: Feast refuses a whole batch for one of them, so something stands in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from predictors.features.store import Catalogue, FeatureStatus, Fetched

STAND_INS: Mapping[str, Any] = {"STRING": "", "BYTES": b"", "FLOAT": 0.0, "DOUBLE": 0.0, "BOOL": False}
"""By type; of whole numbers it is 0."""

Blanks: TypeAlias = Mapping[str, Sequence[int]]
"""By key, the rows where it is not given."""


def stand_in(kind: str) -> Any:
    """A key that hardly belongs to anybody."""
    return STAND_INS.get(kind, 0)


def completed(catalogue: Catalogue, columns: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Sequence[Any]], Blanks]:
    """All columns that Feast wants and there are, and where they were filled."""
    rows = len(next(iter(columns.values()), (None,)))  # of views without entities there is one
    filled: dict[str, Sequence[Any]] = {}
    blanks: dict[str, list[int]] = {}
    for key, kind in catalogue.keys.items():
        values = columns.get(key)
        if values is None:
            values = [None] * rows
        if any(value is None for value in values):
            blanks[key] = [row for row, value in enumerate(values) if value is None]
            other = next((value for value in values if value is not None), stand_in(kind))
            values = [other if value is None else value for value in values]
        filled[key] = values
    filled.update((name, columns[name]) for name in catalogue.request_columns if name in columns)
    return filled, blanks


def blank(fetched: Fetched, catalogue: Catalogue, blanks: Blanks) -> None:
    """What was found for something else than the row's own key is not there."""
    for feature in catalogue.features:
        name = feature.full_name
        if name not in fetched.values:
            continue
        for key in feature.keys:
            for row in blanks.get(key, ()):
                fetched.values[name][row] = None
                fetched.statuses[name][row] = FeatureStatus.MISSING
                fetched.timestamps[name][row] = 0.0
