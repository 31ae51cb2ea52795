"""What was counted of some rows: the bins of a profile, and what the outputs were. Tallies add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from predictors.drift.binning import Array
from predictors.drift.profiles import DriftProfile
from predictors.drift.variables import count_numbers, floats, is_missing, text

KEPT_BITS = 10  # of a number's mantissa: quantiles are right to 0.05 %
MAX_CLASSES = 20  # different whole numbers; more of them are amounts
MAX_TEXTS = 100  # different texts; more of them are no classes
MAX_CLASS_LENGTH = 64  # characters


@dataclass(frozen=True, eq=False)
class Spread:
    """How often each number was seen, to about three digits."""

    numbers: Array = field(default_factory=lambda: np.zeros(0))
    counts: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    whole: bool = True
    """Whether they are whole numbers by type: few different ones are classes then."""

    @classmethod
    def of(cls, numbers: Array, whole: bool) -> Spread:
        drop = 52 - KEPT_BITS
        bits = np.ascontiguousarray(numbers[np.isfinite(numbers)], np.float64).view(np.int64)
        rounded = ((bits + (1 << (drop - 1))) >> drop) << drop
        return cls(*np.unique(rounded.view(np.float64), return_counts=True), whole)

    def __add__(self, other: Spread) -> Spread:
        numbers, places = np.unique(np.concatenate([self.numbers, other.numbers]), return_inverse=True)
        counts = np.zeros(len(numbers), np.int64)
        np.add.at(counts, places, np.concatenate([self.counts, other.counts]))
        return Spread(numbers, counts, self.whole and other.whole)

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    @property
    def classes(self) -> dict[str, int] | None:
        if not self.whole or len(self.numbers) > MAX_CLASSES:
            return None
        return {str(int(number)): int(count) for number, count in zip(self.numbers, self.counts, strict=True)}

    def quantiles(self, wanted: Iterable[float]) -> list[float]:
        upto = np.cumsum(self.counts)
        places = [int(np.searchsorted(upto, share * upto[-1])) for share in wanted]
        return [float(self.numbers[min(place, len(upto) - 1)]) for place in places]


@dataclass(frozen=True)
class Texts:
    """How often each text was seen, as long as they can be classes."""

    found: Mapping[str, int] = field(default_factory=dict)
    free: bool = False
    """Whether they are no classes, so that nothing is kept of them."""

    @classmethod
    def of(cls, values: Iterable[Any]) -> Texts:
        found: dict[str, int] = {}
        for value in values:
            words = text(value)
            if words is not None:
                found[words] = found.get(words, 0) + 1
        return cls.checked(found)

    @classmethod
    def checked(cls, found: Mapping[str, int]) -> Texts:
        free = len(found) > MAX_TEXTS or any(len(one) > MAX_CLASS_LENGTH for one in found)
        return cls({}, True) if free else cls(found)

    def __add__(self, other: Texts) -> Texts:
        if self.free or other.free:
            return Texts({}, True)
        both = dict(self.found)
        for words, count in other.found.items():
            both[words] = both.get(words, 0) + count
        return Texts.checked(both)

    @property
    def rows(self) -> int:
        return sum(self.found.values())

    @property
    def classes(self) -> Mapping[str, int]:
        return self.found


@dataclass(frozen=True, eq=False)
class DriftTally:
    rows: int
    bins: Array
    """Of all variables of the profile; empty without one."""
    outputs: Mapping[str, Spread | Texts] = field(default_factory=dict)

    def __add__(self, other: DriftTally) -> DriftTally:
        outputs = dict(self.outputs)
        for name, one in other.outputs.items():
            outputs[name] = added(outputs[name], one) if name in outputs else one
        return DriftTally(self.rows + other.rows, self.bins + other.bins, outputs)


def added(one: Spread | Texts, other: Spread | Texts) -> Spread | Texts:
    if isinstance(one, Spread) and isinstance(other, Spread):
        return one + other
    if isinstance(one, Texts) and isinstance(other, Texts):
        return one + other
    return Texts({}, True)  # a model that answers now this, now that


def nothing(profile: DriftProfile | None) -> DriftTally:
    return DriftTally(0, np.zeros(0 if profile is None else len(profile.counts), np.int64))


def tallied(
    profile: DriftProfile | None,
    rows: int,
    features: Mapping[str, Any],
    outputs: Mapping[str, Any],
    classes: frozenset[str] = frozenset(),
) -> DriftTally:
    """Columns as counts; `classes` are outputs whose numbers are classes whatever their type.

    A feature that the rows do not have is missing in all of them; an output is not counted then.
    """
    parts: dict[str, Array] = {}
    if profile is not None:
        together = [one for one in profile.features if one.numeric]
        if together and rows:
            columns = [
                floats(features[one.name], one.kind) if one.name in features else np.full(rows, np.nan)
                for one in together
            ]
            counts, place = count_numbers(together, np.column_stack(columns)), 0
            for one in together:
                parts[one.name] = counts[place : place + len(one.counts)]
                place += len(one.counts)
    return DriftTally(
        rows,
        bins_of(profile, rows, parts, features, outputs),
        {name: seen(values, name in classes) for name, values in outputs.items()},
    )


def bins_of(
    profile: DriftProfile | None,
    rows: int,
    counted: Mapping[str, Array],
    features: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> Array:
    if profile is None:
        return np.zeros(0, np.int64)
    found = [np.zeros(0, np.int64)]
    for one in profile.features:
        if one.name in counted:
            found.append(counted[one.name])
        else:
            found.append(one.count(features[one.name] if one.name in features else [None] * rows))
    for one in profile.outputs:
        found.append(one.count(outputs[one.name]) if one.name in outputs else np.zeros_like(one.counts))
    return np.concatenate(found)


def seen(values: Any, is_class: bool) -> Spread | Texts:
    dtype = getattr(values, "dtype", None)
    if dtype is not None and dtype.kind in "iuf":
        numbers = floats(values)
        return Spread.of(numbers, dtype.kind in "iu" or (is_class and bool((numbers == np.trunc(numbers)).all())))
    return Texts.of(value for value in list(values) if not is_missing(value))
