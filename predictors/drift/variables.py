"""`Variable`: the distribution of an input or output in training, and the counting of other values in its bins."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np

from predictors.drift.binning import Array, bin_edges

Kind: TypeAlias = Literal["number", "datetime", "category", "boolean"]
NUMERIC: tuple[Kind, ...] = ("number", "datetime")
MAX_VALUES = 20  # of a category; all others share a bin
MAX_TEXT_LENGTH = 100  # characters of a category
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


@dataclass(frozen=True, eq=False)
class Variable:
    name: str
    kind: Kind
    counts: Array
    """The rows in each bin. The last bin is for missing values; for categories, the one before it is for all others."""
    edges: tuple[float, ...] = ()
    """The edges between the bins of numbers; datetimes are seconds since 1970."""
    values: tuple[str, ...] = ()
    """The categories that have bins, the most frequent first."""
    summary: Mapping[str, float] = field(default_factory=dict)
    """The mean, standard deviation, minimum and maximum of numbers."""

    @property
    def numeric(self) -> bool:
        return self.kind in NUMERIC

    def count(self, values: Any) -> Array:
        """The counts of other values in the same bins."""
        if self.numeric:
            return count_numbers([self], as_floats(values, self.kind)[:, None])
        return count_texts(values, self.values)

    def as_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"kind": self.kind}
        document |= {"edges": list(self.edges)} if self.numeric else {"values": list(self.values)}
        return document | {"counts": self.counts[:-1].tolist(), "missing": int(self.counts[-1])} | dict(self.summary)


def describe(name: str, values: Any, bins: int) -> Variable | None:
    """The distribution of a column; None if it is empty, or of lists, objects or bytes."""
    kind = kind_of(values)
    if kind is None:
        return None
    if kind in NUMERIC:
        numbers = as_floats(values, kind)
        edges = tuple(bin_edges(numbers, bins))
        empty = Variable(name, kind, np.zeros(len(edges) + 2, np.int64), edges)
        return Variable(name, kind, empty.count(numbers), edges, (), summary(numbers))
    counter = Counter(as_texts(values))
    missing = counter.pop(None, 0)
    frequent = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0] or ""))[:MAX_VALUES]
    top = tuple(str(value) for value, _ in frequent)
    counts = [count for _, count in frequent]
    rest = sum(counter.values()) - sum(counts)
    return Variable(name, kind, np.array([*counts, rest, missing], np.int64), (), top)


def summary(numbers: Array) -> dict[str, float]:
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return {}
    with np.errstate(over="ignore"):
        statistics = {"mean": finite.mean(), "std": finite.std(), "min": finite.min(), "max": finite.max()}
    return {key: float(value) for key, value in statistics.items() if np.isfinite(value)}


# -- values of any type -----------------------------------------------------------------------------------------


def kind_of(values: Any) -> Kind | None:
    dtype = getattr(values, "dtype", None)
    name = str(dtype).lower()
    if name.startswith(("datetime64", "timestamp")):
        return "datetime"
    if name in ("bool", "boolean"):
        return "boolean"
    if name.startswith(("int", "uint", "float", "double")):
        return "number"
    if name == "category":
        return "category"
    present = [value for value in as_list(values) if not is_missing(value)]
    types = {type(value) for value in present}
    if not types:
        return None
    if all(issubclass(kind, (bool, np.bool_)) for kind in types):
        return "boolean"
    if all(issubclass(kind, (int, float, np.number, Decimal)) and not issubclass(kind, bool) for kind in types):
        return "number"
    if all(issubclass(kind, (date, datetime, np.datetime64)) for kind in types):
        return "datetime"
    if types == {str}:
        return "datetime" if all(ISO.fullmatch(value) for value in present[:50]) else "category"
    return "category" if all(issubclass(kind, (str, int, float, bool, np.generic)) for kind in types) else None


def as_list(values: Any) -> list[Any]:
    return list(values.tolist()) if hasattr(values, "tolist") else list(values)


def is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("Missing", "NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def as_floats(values: Any, kind: Kind = "number") -> Array:
    """Values as doubles, with NaN for those that are not numbers."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64).reshape(-1)
    if kind == "datetime":
        return as_seconds(values)
    cells = as_list(values)
    try:
        numbers = np.array(cells, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None or numbers.ndim != 1:  # there are lists among them
        return np.array([as_float(cell) for cell in cells], dtype=np.float64)
    return numbers


def as_float(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def as_seconds(values: Any) -> Array:
    """Times as seconds since 1970; those without a zone are in UTC."""
    import pandas as pd

    cells = [cell.decode(errors="replace") if isinstance(cell, bytes) else cell for cell in as_list(pd.Series(values))]
    cells = [None if is_missing(cell) else cell for cell in cells]
    times = pd.to_datetime(pd.Series(cells, dtype=object), utc=True, errors="coerce", format="mixed")
    seconds: Array = (times - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(np.float64)
    return seconds


def as_texts(values: Any) -> list[str | None]:
    """Categories as text, with None for missing values. Integers have the same text in any numeric type."""
    return [as_text(value) for value in as_list(values)]


def as_text(value: Any) -> str | None:
    if type(value) is str:
        return value[:MAX_TEXT_LENGTH]
    if is_missing(value):
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace")[:MAX_TEXT_LENGTH]
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)[:MAX_TEXT_LENGTH]


# -- counting ---------------------------------------------------------------------------------------------------


def count_numbers(variables: Sequence[Variable], matrix: Array) -> Array:
    """The bins of several numeric variables, one after another; the matrix has a column for each.

    All columns are counted in the same few operations: each has a cost, and other threads wait meanwhile.
    """
    max_edges = max((len(variable.edges) for variable in variables), default=0)
    edges = np.full((len(variables), max_edges), np.inf)
    for row, variable in zip(edges, variables, strict=True):
        row[: len(variable.edges)] = variable.edges
    sizes = np.array([len(variable.counts) for variable in variables])
    bins = np.zeros(matrix.shape, np.int64)
    with np.errstate(invalid="ignore"):
        for edge in edges.T:
            bins += matrix > edge
    bins = np.where(np.isnan(matrix), sizes - 1, np.minimum(bins, sizes - 2)) + (np.cumsum(sizes) - sizes)
    return np.bincount(bins.reshape(-1), minlength=int(sizes.sum()))


def count_texts(values: Any, known: Iterable[str]) -> Array:
    cells = as_list(values)
    try:
        counter = Counter(cells)
    except TypeError:  # lists or objects
        counter = Counter(str(cell) for cell in cells)
    positions = {value: place for place, value in enumerate(known)}
    counts = np.zeros(len(positions) + 2, np.int64)
    for value, count in counter.items():
        key = as_text(value)
        counts[-1 if key is None else positions.get(key, len(positions))] += count
    return counts
