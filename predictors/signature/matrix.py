"""Rows of plain numbers as one matrix: the fast path through a plan, for requests that need nothing else.

`Matrix.of` gives exactly the numbers that `SignaturePlan.conform` would, or None: then the plan converts the rows
itself, or says what is wrong with them. So the fast path never refuses anything and has no messages of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from predictors.protocol.batch import Batch, Values
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE, Array, pack_doubles, types_of
from predictors.signature.fields import NUMBER_TYPES
from predictors.signature.plan import SignaturePlan

EXACT_IN_SINGLE = 2**24
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class Matrix:
    """How a batch becomes a matrix of one row per row and one column per input."""

    names: tuple[str, ...]
    """Of the columns; empty where they have none."""
    width: int
    dtype: np.dtype[Any]
    whole: Array | None = None
    """The columns that take whole numbers only, by position."""
    highest: Array | None = None
    """The largest number that each of those takes."""
    columnwise: bool = False
    """Whether the plan makes a table of the rows, in which they lie column by column."""
    singles: Array | None = None
    """The columns of single precision among others of double."""
    untyped: bool = False
    """Whether no signature types the columns: the model gets whole numbers and singles as such."""

    def of(self, batch: Batch) -> Array | None:
        try:
            found = self.values(batch)
        except (TypeError, OverflowError, ValueError, KeyError):  # anything but plain numbers, rows of any length, …
            return None
        return None if found is None else self.exact(found)

    def values(self, batch: Batch) -> Array | None:
        """The numbers as doubles.

        Without a signature, several rows by name lie column by column in the table that the model gets, and rows
        without names row by row: that decides on the last bit of a sum, and only the latter are taken.
        """
        columns = batch.columns
        if columns is None:
            rows = batch.rows
            if isinstance(rows, np.ndarray):
                return self.typed(rows)
            if not isinstance(rows, list) or not rows:
                return None
            if type(rows[0]) is dict:
                by_name = self.names and (len(rows) == 1 or not self.untyped)
                return self.of_records(rows, batch.literals) if by_name else None
            if self.untyped and batch.frame:  # the model gets a table with other names than it knows
                return None
            return self.of_rows(rows, batch.literals)
        if batch.tensors and len(columns) == 1:
            ((name, values),) = columns.items()
            if name not in self.names and isinstance(values, np.ndarray):
                return self.typed(values)
        if not self.names or len(columns) != self.width:
            return None
        return self.of_columns([columns[name] for name in self.names], batch.literals)

    def of_rows(self, rows: list[Any], literals: bool) -> Array | None:
        if set(map(len, rows)) != {self.width}:
            return None
        if literals and any(bool in types_of(row) for row in rows):
            return None
        count = len(rows) * self.width
        return self.doubles(chain.from_iterable(rows), count).reshape(len(rows), self.width)

    def of_records(self, rows: list[Any], literals: bool) -> Array | None:
        names = self.names
        if self.width == 1:
            return self.of_rows([[row[names[0]]] for row in rows], literals) if set(map(len, rows)) == {1} else None
        if set(map(len, rows)) != {self.width}:
            return None
        return self.of_rows(list(map(itemgetter(*names), rows)), literals)

    def of_columns(self, columns: Sequence[Values], literals: bool) -> Array | None:
        count = len(columns[0])
        if self.untyped and count > 1:
            return None
        made = np.empty((count, self.width))
        for index, values in enumerate(columns):
            if isinstance(values, np.ndarray):
                if values.shape not in ((count,), (count, 1)) or not self.lossless(values):
                    return None
                made[:, index] = values.reshape(-1)
            elif len(values) == count and not (literals and bool in types_of(values)):
                made[:, index] = self.doubles(values, count)
            else:
                return None
        return made if count else None

    def typed(self, values: Array) -> Array | None:
        if values.ndim != 2 or values.shape[1] != self.width or not len(values) or not self.lossless(values):
            return None
        return np.ascontiguousarray(values, dtype=DOUBLE)

    def doubles(self, values: Iterable[Any], count: int) -> Array:
        """Numbers of JSON; no large ones where the plan cares whether they were written as whole numbers."""
        made = pack_doubles(values, count)
        if not self.columnwise or self.singles is not None or self.dtype == SINGLE:
            most = EXACT_IN_SINGLE if self.untyped else MAX_EXACT_IN_DOUBLE
            if not (np.abs(made) < most).all():
                raise OverflowError
        return made

    def lossless(self, values: Array) -> bool:
        """Whether doubles hold the numbers of a typed tensor exactly, and the model would see the same in them."""
        kind, size = values.dtype.kind, values.dtype.itemsize
        if kind == "f":
            return size == DOUBLE.itemsize or (size < DOUBLE.itemsize and not self.untyped)
        if kind not in "iu":
            return False
        # Some libraries make singles of whole numbers.
        most = EXACT_IN_SINGLE if self.untyped else MAX_EXACT_IN_DOUBLE
        return size < (4 if self.untyped else 8) or bool((np.abs(values.astype(DOUBLE)) < most).all())

    def exact(self, found: Array) -> Array | None:
        """The matrix in the types of its columns; None where a number does not fit into them."""
        if self.whole is not None:
            part = found[:, self.whole]
            whole = np.trunc(part) + 0.0  # no negative zero
            if not (np.abs(part) < self.highest).all() or (part.view(np.int64) != whole.view(np.int64)).any():
                return None
        if self.singles is None and self.dtype == DOUBLE:
            return found
        with np.errstate(over="ignore"):
            if self.dtype == SINGLE:
                found = found.astype(SINGLE)
            else:
                found = found.copy()  # it may be the caller's own
                found[:, self.singles] = found[:, self.singles].astype(SINGLE)
        return found if np.isfinite(found).all() else None


def matrix_of(plan: SignaturePlan) -> Matrix | None:
    """The short way through a plan; None where its inputs are not columns of required numbers."""
    if plan.from_type_hints:
        return None
    if not plan.inputs:
        fits = len(set(plan.names)) == len(plan.names) and len(plan.names) in (0, plan.width)
        return Matrix(plan.names, plan.width, DOUBLE, untyped=True) if plan.width and fits else None
    if plan.tensors:
        return matrix_of_tensor(plan)
    if not all(one.type in NUMBER_TYPES for one in plan.inputs):
        return None
    types = [one.dtype for one in plan.inputs]
    names = tuple(one.name for one in plan.inputs) if plan.named else ()
    return matrix_of_types(names, types) if len(set(names)) in (0, len(types)) else None


def matrix_of_tensor(plan: SignaturePlan) -> Matrix | None:
    only = plan.inputs[0]
    fits = len(plan.inputs) == 1 and not only.name and len(only.shape) == 2 and only.shape[0] == -1
    if not fits or only.shape[1] < 1 or only.dtype not in (SINGLE, DOUBLE):
        return None
    return Matrix((), only.shape[1], only.dtype)


def matrix_of_types(names: tuple[str, ...], types: Sequence[np.dtype[Any]]) -> Matrix:
    whole = [i for i, dtype in enumerate(types) if dtype.kind == "i"]
    singles = [i for i, dtype in enumerate(types) if dtype == SINGLE]
    alone = len(singles) == len(types)
    highest = [min(np.iinfo(types[i]).max, MAX_EXACT_IN_DOUBLE) for i in whole]
    return Matrix(
        names,
        len(types),
        SINGLE if alone else DOUBLE,
        columnwise=True,
        whole=np.array(whole) if whole else None,
        highest=np.array(highest, dtype=DOUBLE) if whole else None,
        singles=np.array(singles) if singles and not alone else None,
    )
