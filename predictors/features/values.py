"""Feast's values as Python values, equal to those of `OnlineResponse.to_dict`, and their statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from predictors.features.store import FeatureStatus

SCALAR_FIELDS = frozenset({"int32_val", "int64_val", "double_val", "float_val", "string_val", "bool_val", "bytes_val"})
NOT_FOUND, OUTSIDE_MAX_AGE = 3, 4
"""Values of Feast's FieldStatus. NULL_VALUE is not used: some stores report null values as PRESENT."""


def python_values(values: Iterable[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """`convert` is Feast's own conversion, for values that are no plain numbers, text or bytes."""
    result = []
    for value in values:
        kind = value.WhichOneof("val")
        if kind in SCALAR_FIELDS:
            result.append(getattr(value, kind))
        else:
            result.append(None if kind is None else convert(value))
    return result


def status_of(
    status: int, value: Any, timestamp: float, computed: bool = False, earliest: float = 0.0
) -> FeatureStatus:
    """The status of a value. Values older than `earliest` are stale.

    A missing row and a null value differ by their timestamp, which Redis has only for known entities. Values computed
    on demand have no timestamp.
    """
    if status == NOT_FOUND:
        return FeatureStatus.MISSING
    if value is None:
        return FeatureStatus.NULL if timestamp or computed else FeatureStatus.MISSING
    return FeatureStatus.STALE if status == OUTSIDE_MAX_AGE or timestamp < earliest else FeatureStatus.FOUND
