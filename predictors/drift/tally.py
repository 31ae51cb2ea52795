"""`DriftTally`: the rows in the bins of a profile, and the counts of outputs. Tallies of parts add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from predictors.drift.binning import Array
from predictors.drift.profiles import DriftProfile
from predictors.drift.variables import as_floats, as_text, count_numbers, is_missing

MANTISSA_BITS = 10  # kept of each number: quantiles are exact to 0.05 %
MAX_CLASSES = 20  # distinct integers; more of them are quantities
MAX_TEXTS = 100  # distinct texts; more of them are free text
MAX_CLASS_LENGTH = 64  # characters


@dataclass(frozen=True, eq=False)
class NumberCounts:
    """The counts of numbers, rounded to about three digits."""

    numbers: Array = field(default_factory=lambda: np.zeros(0))
    counts: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    integers: bool = True
    """Whether their type is an integer: then a few distinct numbers are classes."""

    @classmethod
    def of(cls, numbers: Array, integers: bool) -> NumberCounts:
        drop = 52 - MANTISSA_BITS
        bits = np.ascontiguousarray(numbers[np.isfinite(numbers)], np.float64).view(np.int64)
        rounded = ((bits + (1 << (drop - 1))) >> drop) << drop
        return cls(*np.unique(rounded.view(np.float64), return_counts=True), integers)

    def __add__(self, other: NumberCounts) -> NumberCounts:
        numbers, positions = np.unique(np.concatenate([self.numbers, other.numbers]), return_inverse=True)
        counts = np.zeros(len(numbers), np.int64)
        np.add.at(counts, positions, np.concatenate([self.counts, other.counts]))
        return NumberCounts(numbers, counts, self.integers and other.integers)

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    @property
    def classes(self) -> dict[str, int] | None:
        if not self.integers or len(self.numbers) > MAX_CLASSES:
            return None
        return {str(int(number)): int(count) for number, count in zip(self.numbers, self.counts, strict=True)}

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        cumulative = np.cumsum(self.counts)
        positions = [int(np.searchsorted(cumulative, share * cumulative[-1])) for share in shares]
        return [float(self.numbers[min(position, len(cumulative) - 1)]) for position in positions]


@dataclass(frozen=True)
class TextCounts:
    """The counts of texts, as long as they can be classes."""

    counts: Mapping[str, int] = field(default_factory=dict)
    discarded: bool = False
    """Whether they were too many or too long to be classes; then no counts are kept."""

    @classmethod
    def of(cls, values: Iterable[Any]) -> TextCounts:
        counts: dict[str, int] = {}
        for value in values:
            value_text = as_text(value)
            if value_text is not None:
                counts[value_text] = counts.get(value_text, 0) + 1
        return cls.limited(counts)

    @classmethod
    def limited(cls, counts: Mapping[str, int]) -> TextCounts:
        discarded = len(counts) > MAX_TEXTS or any(len(value) > MAX_CLASS_LENGTH for value in counts)
        return cls({}, True) if discarded else cls(counts)

    def __add__(self, other: TextCounts) -> TextCounts:
        if self.discarded or other.discarded:
            return TextCounts({}, True)
        both = dict(self.counts)
        for value, count in other.counts.items():
            both[value] = both.get(value, 0) + count
        return TextCounts.limited(both)

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    @property
    def classes(self) -> Mapping[str, int]:
        return self.counts


@dataclass(frozen=True, eq=False)
class DriftTally:
    rows: int
    bins: Array
    """The counts of all bins of the profile; empty without a profile."""
    outputs: Mapping[str, NumberCounts | TextCounts] = field(default_factory=dict)

    def __add__(self, other: DriftTally) -> DriftTally:
        outputs = dict(self.outputs)
        for name, values in other.outputs.items():
            outputs[name] = add_counts(outputs[name], values) if name in outputs else values
        return DriftTally(self.rows + other.rows, self.bins + other.bins, outputs)


def add_counts(first: NumberCounts | TextCounts, second: NumberCounts | TextCounts) -> NumberCounts | TextCounts:
    if isinstance(first, NumberCounts) and isinstance(second, NumberCounts):
        return first + second
    if isinstance(first, TextCounts) and isinstance(second, TextCounts):
        return first + second
    return TextCounts({}, True)  # the output is sometimes a number, sometimes text


def empty_tally(profile: DriftProfile | None) -> DriftTally:
    return DriftTally(0, np.zeros(0 if profile is None else len(profile.counts), np.int64))


def tally_rows(
    profile: DriftProfile | None,
    rows: int,
    features: Mapping[str, Any],
    outputs: Mapping[str, Any],
    classes: frozenset[str] = frozenset(),
) -> DriftTally:
    """Counts the columns of some rows; `classes` are outputs whose numbers are classes whatever their type.

    A feature without a column counts as missing in every row; an output without a column is not counted.
    """
    parts: dict[str, Array] = {}
    if profile is not None:
        numeric = [variable for variable in profile.features if variable.numeric]
        if numeric and rows:
            columns = [
                as_floats(features[variable.name], variable.kind)
                if variable.name in features
                else np.full(rows, np.nan)
                for variable in numeric
            ]
            counts, start = count_numbers(numeric, np.column_stack(columns)), 0
            for variable in numeric:
                parts[variable.name] = counts[start : start + len(variable.counts)]
                start += len(variable.counts)
    return DriftTally(
        rows,
        count_bins(profile, rows, parts, features, outputs),
        {name: count_values(values, name in classes) for name, values in outputs.items()},
    )


def count_bins(
    profile: DriftProfile | None,
    rows: int,
    counted: Mapping[str, Array],
    features: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> Array:
    if profile is None:
        return np.zeros(0, np.int64)
    counts = [np.zeros(0, np.int64)]
    for variable in profile.features:
        if variable.name in counted:
            counts.append(counted[variable.name])
        else:
            counts.append(variable.count(features[variable.name] if variable.name in features else [None] * rows))
    for variable in profile.outputs:
        counts.append(
            variable.count(outputs[variable.name]) if variable.name in outputs else np.zeros_like(variable.counts)
        )
    return np.concatenate(counts)


def count_values(values: Any, is_class: bool) -> NumberCounts | TextCounts:
    dtype = getattr(values, "dtype", None)
    if dtype is not None and dtype.kind in "iuf":
        numbers = as_floats(values)
        return NumberCounts.of(numbers, dtype.kind in "iu" or (is_class and bool((numbers == np.trunc(numbers)).all())))
    return TextCounts.of(value for value in list(values) if not is_missing(value))
