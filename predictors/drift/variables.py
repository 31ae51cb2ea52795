"""One column, an input or an output: what it looked like in training, and how values of today are counted beside it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import numpy as np

from predictors.drift.binning import Array, cuts

Kind: TypeAlias = Literal["number", "datetime", "category", "boolean"]
NUMERIC: tuple[Kind, ...] = ("number", "datetime")
MAX_VALUES = 20  # of a category; the others are counted together
LONGEST = 100  # characters of a value that are kept
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


@dataclass(frozen=True, eq=False)
class Variable:
    name: str
    kind: Kind
    counts: Array
    """Of each bin; the last is of missing values, and of categories the one before that is of all others."""
    edges: tuple[float, ...] = ()
    """Of numbers; datetimes are seconds since 1970."""
    values: tuple[str, ...] = ()
    """Of categories, the most frequent first."""
    summary: Mapping[str, float] = field(default_factory=dict)
    """Mean, standard deviation, least and greatest of numbers."""

    @property
    def numeric(self) -> bool:
        return self.kind in NUMERIC

    def count(self, values: Any) -> Array:
        """The same bins for other values."""
        if self.numeric:
            return count_numbers([self], floats(values, self.kind)[:, None])
        return count_texts(values, self.values)

    def as_json(self) -> dict[str, Any]:
        made: dict[str, Any] = {"kind": self.kind}
        made |= {"edges": list(self.edges)} if self.numeric else {"values": list(self.values)}
        return made | {"counts": self.counts[:-1].tolist(), "missing": int(self.counts[-1])} | dict(self.summary)


def described(name: str, values: Any, bins: int) -> Variable | None:
    """What a column looks like; None for one of lists, objects or bytes, and for one that holds nothing."""
    kind = kind_of(values)
    if kind is None:
        return None
    if kind in NUMERIC:
        numbers = floats(values, kind)
        edges = tuple(cuts(numbers, bins))
        bare = Variable(name, kind, np.zeros(len(edges) + 2, np.int64), edges)
        return Variable(name, kind, bare.count(numbers), edges, (), summary(numbers))
    found = Counter(texts(values))
    missing = found.pop(None, 0)
    most = sorted(found.items(), key=lambda one: (-one[1], one[0] or ""))[:MAX_VALUES]
    top = tuple(str(value) for value, _ in most)
    counts = [count for _, count in most]
    rest = sum(found.values()) - sum(counts)
    return Variable(name, kind, np.array([*counts, rest, missing], np.int64), (), top)


def summary(numbers: Array) -> dict[str, float]:
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return {}
    with np.errstate(over="ignore"):
        found = {"mean": finite.mean(), "std": finite.std(), "min": finite.min(), "max": finite.max()}
    return {key: float(value) for key, value in found.items() if np.isfinite(value)}


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
    if all(issubclass(one, (bool, np.bool_)) for one in types):
        return "boolean"
    if all(issubclass(one, (int, float, np.number, Decimal)) and not issubclass(one, bool) for one in types):
        return "number"
    if all(issubclass(one, (date, datetime, np.datetime64)) for one in types):
        return "datetime"
    if types == {str}:
        return "datetime" if all(ISO.fullmatch(value) for value in present[:50]) else "category"
    return "category" if all(issubclass(one, (str, int, float, bool, np.generic)) for one in types) else None


def as_list(values: Any) -> list[Any]:
    return list(values.tolist()) if hasattr(values, "tolist") else list(values)


def is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("Missing", "NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def floats(values: Any, kind: Kind = "number") -> Array:
    """Numbers as doubles; what is none is NaN."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64).reshape(-1)
    if kind == "datetime":
        return moments(values)
    cells = as_list(values)
    try:
        found = np.array(cells, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None or found.ndim != 1:  # lists among them are no numbers
        return np.array([number(cell) for cell in cells], dtype=np.float64)
    return found


def number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def moments(values: Any) -> Array:
    """Seconds since 1970; times without a zone are taken as UTC."""
    import pandas as pd

    cells = [cell.decode(errors="replace") if isinstance(cell, bytes) else cell for cell in as_list(pd.Series(values))]
    cells = [None if is_missing(cell) else cell for cell in cells]
    found = pd.to_datetime(pd.Series(cells, dtype=object), utc=True, errors="coerce", format="mixed")
    seconds: Array = (found - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(np.float64)
    return seconds


def texts(values: Any) -> list[str | None]:
    """Categories as text; None for what is missing. Whole numbers look alike, whatever type holds them."""
    return [text(value) for value in as_list(values)]


def text(value: Any) -> str | None:
    if type(value) is str:
        return value[:LONGEST]
    if is_missing(value):
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace")[:LONGEST]
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)[:LONGEST]


# -- counting ---------------------------------------------------------------------------------------------------


def count_numbers(variables: Sequence[Variable], matrix: Array) -> Array:
    """The bins of several variables of numbers, a column each, one after another.

    A few steps for all columns together: each step of numpy has its price, and other threads wait for it.
    """
    most = max((len(one.edges) for one in variables), default=0)
    edges = np.full((len(variables), most), np.inf)
    for row, one in zip(edges, variables, strict=True):
        row[: len(one.edges)] = one.edges
    sizes = np.array([len(one.counts) for one in variables])
    bins = np.zeros(matrix.shape, np.int64)
    with np.errstate(invalid="ignore"):
        for edge in edges.T:
            bins += matrix > edge
    bins = np.where(np.isnan(matrix), sizes - 1, np.minimum(bins, sizes - 2)) + (np.cumsum(sizes) - sizes)
    return np.bincount(bins.reshape(-1), minlength=int(sizes.sum()))


def count_texts(values: Any, known: Iterable[str]) -> Array:
    cells = as_list(values)
    try:
        found = Counter(cells)
    except TypeError:  # lists or objects
        found = Counter(str(cell) for cell in cells)
    places = {value: place for place, value in enumerate(known)}
    counts = np.zeros(len(places) + 2, np.int64)
    for value, count in found.items():
        key = text(value)
        counts[-1 if key is None else places.get(key, len(places))] += count
    return counts
