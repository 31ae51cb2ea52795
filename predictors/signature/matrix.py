"""The fast path through a signature: requests of plain numbers as one matrix.

`MatrixPlan.conform` gives exactly the numbers that `SignaturePlan.conform` would, or None. In that case the signature
plan converts the rows or raises the error, so the fast path never refuses a request and has no messages of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import nan
from operator import itemgetter
from typing import Any

import numpy as np

from predictors.protocol.batch import Batch, Values
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE, Array, pack_doubles, types_of
from predictors.protocol.packed_rows import PackedRows
from predictors.signature.fields import NUMBER_TYPES
from predictors.signature.plan import SignaturePlan

MAX_EXACT_IN_SINGLE = 2**24
MAX_SINGLE = float(np.finfo(np.float32).max)
MAX_FEW = 64  # values that Python compares faster than numpy
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class MatrixPlan:
    """How a batch becomes a matrix with a row for each of its rows and a column for each input."""

    names: tuple[str, ...]
    """The names of the columns; empty if they have none."""
    width: int
    dtype: np.dtype[Any]
    integers: Array | None = None
    """The positions of the columns of integers."""
    integer_limits: Array | None = None
    """For each of them, the bound below which every integer passes."""
    columnwise: bool = False
    """Whether the signature plan makes a DataFrame of the rows, which lies in memory column by column."""
    singles: Array | None = None
    """The positions of the columns of single precision, if others are of double precision."""
    untyped: bool = False
    """Whether there is no signature: then the model gets integers and single precision as they were sent."""

    def conform(self, batch: Batch) -> Array | None:
        """The rows in the types of the columns; None if the signature plan has to convert or refuse them."""
        try:
            rows = self.to_doubles(batch)
        except TypeError:  # no numbers: nulls, perhaps
            rows = self.with_nulls(batch)
        except (OverflowError, ValueError, KeyError):  # rows of different lengths, …
            return None
        return None if rows is None else self.cast(rows)

    def with_nulls(self, batch: Batch) -> Array | None:
        """The rows as doubles, with NaN for null as in a DataFrame; None if there are no rows without names."""
        if not self.columnwise or not batch.literals:
            return None
        rows, columns = batch.rows, batch.columns
        try:
            if columns is not None:
                return self.to_doubles(replace(batch, columns={name: nan_for_null(columns[name]) for name in columns}))
            kind = type(rows[0])
            if any(type(row) is not kind for row in rows):
                return None
            if kind is dict:
                rows = [dict(zip(row, nan_for_null([*row.values()]), strict=True)) for row in rows]
            else:
                rows = [nan_for_null(row) for row in rows]
            return self.to_doubles(replace(batch, rows=rows))
        except (TypeError, OverflowError, ValueError, KeyError):
            return None

    def to_doubles(self, batch: Batch) -> Array | None:
        """The rows as doubles.

        The order in memory may decide the last bit of a sum. Without a signature, the model gets several named rows
        as a DataFrame, column by column, and unnamed rows row by row, as they are here: so only those are converted.
        """
        columns = batch.columns
        if columns is None:
            rows = batch.rows
            if isinstance(rows, np.ndarray):
                return self.from_tensor(rows)
            if isinstance(rows, PackedRows):
                return self.from_packed(rows, batch)
            if not isinstance(rows, list) or not rows:
                return None
            if type(rows[0]) is dict:
                by_name = self.names and (len(rows) == 1 or not self.untyped)
                return self.from_records(rows, batch.literals) if by_name else None
            if self.untyped and batch.frame:  # the model gets a DataFrame with names that it does not know
                return None
            return self.from_rows(rows, batch.literals)
        if batch.tensors and len(columns) == 1:
            ((name, values),) = columns.items()
            if name not in self.names and isinstance(values, np.ndarray):
                return self.from_tensor(values)
        if not self.names or len(columns) != self.width:
            return None
        return self.from_columns([columns[name] for name in self.names], batch.literals)

    def from_packed(self, rows: PackedRows, batch: Batch) -> Array | None:
        """As from the lists that were packed."""
        if rows.width != self.width or (rows.has_nulls and not self.columnwise):
            return None
        numbers = rows.numbers
        if rows.names is None:
            if self.untyped and batch.frame:
                return None
        elif not self.names or self.untyped:
            return None
        elif rows.names != self.names:
            numbers = np.take(numbers, [rows.names.index(name) for name in self.names], axis=1)  # row by row in memory
        return self.checked(numbers)

    def from_rows(self, rows: list[Any], literals: bool) -> Array | None:
        if set(map(len, rows)) != {self.width}:
            return None
        if literals and any(bool in types_of(row) for row in rows):
            return None
        count = len(rows) * self.width
        return self.pack(chain.from_iterable(rows), count).reshape(len(rows), self.width)

    def from_records(self, rows: list[Any], literals: bool) -> Array | None:
        names = self.names
        if self.width == 1:
            return self.from_rows([[row[names[0]]] for row in rows], literals) if set(map(len, rows)) == {1} else None
        if set(map(len, rows)) != {self.width}:
            return None
        return self.from_rows(list(map(itemgetter(*names), rows)), literals)

    def from_columns(self, columns: Sequence[Values], literals: bool) -> Array | None:
        count = len(columns[0])
        if self.untyped and count > 1:
            return None
        rows = np.empty((count, self.width))
        values: Any  # also what is packed, which only this plan reads
        for index, values in enumerate(columns):
            if isinstance(values, np.ndarray):
                if values.shape not in ((count,), (count, 1)) or not self.is_lossless(values):
                    return None
                rows[:, index] = values.reshape(-1)
            elif isinstance(values, PackedRows):
                if values.width is not None or len(values) != count or (values.has_nulls and not self.columnwise):
                    return None
                rows[:, index] = self.checked(values.numbers)[:, 0]
            elif len(values) == count and not (literals and bool in types_of(values)):
                rows[:, index] = self.pack(values, count)
            else:
                return None
        return rows if count else None

    def from_tensor(self, values: Array) -> Array | None:
        if values.ndim != 2 or values.shape[1] != self.width or not len(values) or not self.is_lossless(values):
            return None
        return np.ascontiguousarray(values, dtype=DOUBLE)

    def pack(self, values: Iterable[Any], count: int) -> Array:
        """Numbers of JSON. Raises OverflowError for large ones if it matters whether they were written as integers."""
        if self.columnwise and self.singles is None and self.dtype == DOUBLE:
            return pack_doubles(values, count)
        cells = list(values)
        numbers, limit = pack_doubles(cells, count), MAX_EXACT_IN_SINGLE if self.untyped else MAX_EXACT_IN_DOUBLE
        few = count <= MAX_FEW
        if not (-limit < min(cells) <= max(cells) < limit if few else (np.abs(numbers) < limit).all()):
            raise OverflowError
        return numbers

    def checked(self, numbers: Array) -> Array:
        """Large numbers of JSON, as doubles. Raises OverflowError as `pack` does."""
        if not self.columnwise or self.singles is not None or self.dtype != DOUBLE:
            limit = MAX_EXACT_IN_SINGLE if self.untyped else MAX_EXACT_IN_DOUBLE
            if not (np.abs(numbers) < limit).all():
                raise OverflowError
        return numbers

    def is_lossless(self, values: Array) -> bool:
        """Whether the numbers of a typed tensor are exact as doubles, and the model would treat them alike."""
        kind, size = values.dtype.kind, values.dtype.itemsize
        if kind == "f":
            return size == DOUBLE.itemsize or (size < DOUBLE.itemsize and not self.untyped)
        if kind not in "iu":
            return False
        # Some libraries convert integers to single precision.
        limit = MAX_EXACT_IN_SINGLE if self.untyped else MAX_EXACT_IN_DOUBLE
        # Not by their absolute values: they would take as much memory again.
        return size < (4 if self.untyped else 8) or bool(-limit < values.min() and values.max() < limit)

    def cast(self, rows: Array) -> Array | None:
        """The rows in the types of the columns; None if a number does not fit into its type."""
        if self.integers is not None:
            columns = rows if len(self.integers) == self.width else rows[:, self.integers]
            whole = np.trunc(columns)
            whole += 0.0  # no negative zero
            if not (np.abs(whole) < self.integer_limits).all() or whole.tobytes() != columns.tobytes():
                return None
        if self.dtype == SINGLE:
            return rows.astype(SINGLE) if np.abs(rows).max() < MAX_SINGLE else None
        if self.singles is not None:
            columns = rows[:, self.singles]
            if not np.abs(columns).max() < MAX_SINGLE:
                return None
            rows = rows.copy()  # the caller may own it
            rows[:, self.singles] = columns.astype(SINGLE)
        return rows


def nan_for_null(values: Values) -> Values:
    return [nan if value is None else value for value in values] if isinstance(values, list) else values


def compile_matrix(plan: SignaturePlan) -> MatrixPlan | None:
    """The fast path through a signature plan; None if its inputs are not columns of required numbers."""
    if plan.from_type_hints:
        return None
    if not plan.inputs:
        fits = len(set(plan.names)) == len(plan.names) and len(plan.names) in (0, plan.width)
        return MatrixPlan(plan.names, plan.width, DOUBLE, untyped=True) if plan.width and fits else None
    if plan.tensors:
        return compile_tensor_matrix(plan)
    if not all(field.type in NUMBER_TYPES for field in plan.inputs):
        return None
    types = [field.dtype for field in plan.inputs]
    names = tuple(field.name for field in plan.inputs) if plan.named else ()
    return compile_column_matrix(names, types) if len(set(names)) in (0, len(types)) else None


def compile_tensor_matrix(plan: SignaturePlan) -> MatrixPlan | None:
    only = plan.inputs[0]
    fits = len(plan.inputs) == 1 and not only.name and len(only.shape) == 2 and only.shape[0] == -1
    if not fits or only.shape[1] < 1 or only.dtype not in (SINGLE, DOUBLE):
        return None
    return MatrixPlan((), only.shape[1], only.dtype)


def compile_column_matrix(names: tuple[str, ...], types: Sequence[np.dtype[Any]]) -> MatrixPlan:
    integers = [i for i, dtype in enumerate(types) if dtype.kind == "i"]
    singles = [i for i, dtype in enumerate(types) if dtype == SINGLE]
    alone = len(singles) == len(types)
    integer_limits = [min(np.iinfo(types[i]).max, MAX_EXACT_IN_DOUBLE) for i in integers]
    return MatrixPlan(
        names,
        len(types),
        SINGLE if alone else DOUBLE,
        columnwise=True,
        integers=np.array(integers) if integers else None,
        integer_limits=np.array(integer_limits, dtype=DOUBLE) if integers else None,
        singles=np.array(singles) if singles and not alone else None,
    )
