"""Feast's values as plain ones, the same as `OnlineResponse.to_dict` gives, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from predictors.features.store import FeatureStatus

PLAIN = frozenset({"int32_val", "int64_val", "double_val", "float_val", "string_val", "bool_val", "bytes_val"})
NOT_FOUND, OUTSIDE_MAX_AGE = 3, 4
"""Of Feast's FieldStatus. NULL_VALUE and PRESENT say less than the value itself: stores report both as PRESENT."""


def python_values(values: Iterable[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """`convert` is Feast's way, for what is no plain number, text or bytes."""
    result = []
    for value in values:
        kind = value.WhichOneof("val")
        if kind in PLAIN:
            result.append(getattr(value, kind))
        else:
            result.append(None if kind is None else convert(value))
    return result


def status_of(
    status: int, value: Any, timestamp: float, computed: bool = False, earliest: float = 0.0
) -> FeatureStatus:
    """Without a value, the time tells: Redis answers for an entity that it does not know as if its row were empty.

    What is computed on demand has no time. What is known from before `earliest` is stale.
    """
    if status == NOT_FOUND:
        return FeatureStatus.MISSING
    if value is None:
        return FeatureStatus.NULL if timestamp or computed else FeatureStatus.MISSING
    return FeatureStatus.STALE if status == OUTSIDE_MAX_AGE or timestamp < earliest else FeatureStatus.FOUND
