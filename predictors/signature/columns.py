"""The fast path through a signature with columns of text, booleans or dates: a request as `MixedRows`, no DataFrame.

As with `MatrixPlan`, anything unusual gives None: the signature plan then converts it or raises the error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import chain
from math import nan
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from predictors.protocol.batch import Batch, Values
from predictors.protocol.casting import MAX_EXACT_IN_DOUBLE, Array, object_array, pack_doubles, types_of
from predictors.protocol.mixed_rows import ColumnType, MixedRows
from predictors.signature.fields import NUMBER_TYPES, Field
from predictors.signature.plan import SignaturePlan

Cells: TypeAlias = "Sequence[Any]"

NULL = type(None)
NUMBERS = {int, float}
TEXTS = {"string", "datetime"}
# Of the dates that the signature takes, those that Python's parser reads in the same way.
PLAIN_DATE = re.compile(
    r"(1[7-9]|2[01])\d\d-\d\d-\d\d([T ]([01]\d|2[0-3]):\d\d(:\d\d(\.\d{1,9})?)?)?\Z", re.ASCII
)  # fmt: skip


@dataclass(frozen=True)
class ColumnPlan:
    """How a batch becomes `MixedRows` with columns of these types."""

    types: tuple[ColumnType, ...]
    """In the order of the signature."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.types)

    @cached_property
    def cells_of_record(self) -> itemgetter[Any]:
        return itemgetter(*self.names)

    @cached_property
    def texts(self) -> list[tuple[int, Callable[[Values], Cells]]]:
        """The positions of columns of text and of dates, and the functions that check what was sent."""
        texts = [(position, column) for position, column in enumerate(self.types) if not column.is_number]
        return [(position, dates_of if column.is_date else texts_of) for position, column in texts]

    @cached_property
    def numbers(self) -> list[tuple[list[int], Callable[[Values], Cells]]]:
        """The positions of all others, in groups of a type, and the functions from what was sent to its numbers."""
        columns = sorted(((column, position) for position, column in enumerate(self.types) if column.is_number),
                         key=lambda one: one[0].place)  # fmt: skip
        groups: dict[tuple[str, bool], list[int]] = {}
        for column, position in columns:
            groups.setdefault(kind_of(column), []).append(position)
        return [(positions, numbers_as(self.types[positions[0]])) for positions in groups.values()]

    def conform(self, batch: Batch) -> MixedRows | None:
        """The rows in the types of the columns; None if the signature plan has to convert or refuse them."""
        try:
            columns, rows = batch.columns, batch.rows
            if columns is None and type(rows) is list and len(rows) == 1 and len(rows[0]) == len(self.types):
                return self.from_row(rows[0])
            sent = self.columns_of(batch)
            return None if sent is None else self.from_columns(sent)
        except (TypeError, OverflowError, ValueError, KeyError):
            return None

    def from_row(self, row: Any) -> MixedRows | None:
        """A single row, which is most requests, without a list for each column of numbers."""
        if type(row) is dict:
            row = [row[name] for name in self.names]
        elif type(row) is not list:
            return None
        cells: list[Any] = []
        for positions, numbers in self.numbers:
            cells += numbers([row[position] for position in positions])
        texts = [checked([row[position]]) for position, checked in self.texts]
        return MixedRows(pack_doubles(cells, len(cells)).reshape(1, -1), texts)

    def columns_of(self, batch: Batch) -> Sequence[Any] | None:
        """The columns as they were sent, in the order of the signature."""
        columns, rows, width = batch.columns, batch.rows, len(self.types)
        if columns is not None:
            return [columns[name] for name in self.names] if len(columns) == width else None
        if type(rows) is not list or not rows or set(map(len, rows)) != {width}:
            return None
        kinds = types_of(rows)
        if kinds == {dict}:
            if width == 1:
                return [[row[self.names[0]] for row in rows]]
            rows = map(self.cells_of_record, rows)
        elif kinds != {list}:
            return None
        return list(zip(*rows, strict=True))

    def from_columns(self, columns: Sequence[Any]) -> MixedRows | None:
        rows = len(columns[0])
        if not rows or any(len(values) != rows for values in columns):
            return None
        numbers = self.matrix_of(columns, rows)
        return MixedRows(numbers, [cells_of(columns[position]) for position, cells_of in self.texts])

    def matrix_of(self, columns: Sequence[Any], rows: int) -> Array:
        """The numbers, column after column in memory. Raises for what is no number of the type."""
        cells: list[Any] = []
        for positions, numbers in self.numbers:
            values = [columns[position] for position in positions]
            if any(isinstance(one, np.ndarray) for one in values):
                cells += chain.from_iterable(map(numbers, values))
            else:
                cells += numbers(list(chain.from_iterable(values)))
        return pack_doubles(cells, len(cells)).reshape(-1, rows).T if cells else np.empty((rows, 0))

    def batch_of(self, rows: MixedRows) -> Batch:
        """The request that has these rows."""
        return Batch(columns={column.name: values_of(column, rows) for column in self.types}, frame=True)


# -- what was sent as cells of a type; raises ValueError, TypeError or OverflowError for anything else -------------


def flat(values: Values) -> Cells:
    """A tensor of shape [rows] or [rows, 1] as Python values; lists as they are."""
    if not isinstance(values, np.ndarray):
        return values
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError
    cells: list[Any] = values.tolist()
    return cells


def texts_of(values: Values) -> Cells:
    cells = flat(values)
    kinds = set(map(type, cells))
    if kinds == {bytes}:
        return [cell.decode() for cell in cells]
    if not kinds <= {str, NULL}:
        raise TypeError
    return cells


def dates_of(values: Values) -> Cells:
    cells = texts_of(values)
    for cell in cells:
        if cell is not None:
            if not PLAIN_DATE.match(cell):
                raise ValueError
            datetime.fromisoformat(cell)
    return cells


def numbers_as(column: ColumnType) -> Callable[[Values], Cells]:
    if column.dtype.kind == "b":
        return booleans
    if column.dtype.kind == "i":
        limit = min(np.iinfo(column.dtype).max, MAX_EXACT_IN_DOUBLE)
        return partial(integers, limit=limit, nullable=column.nullable)
    return doubles if column.dtype == np.float64 else singles


def booleans(values: Values) -> Cells:
    cells = flat(values)
    if set(map(type, cells)) != {bool}:
        raise TypeError
    return cells


def integers(values: Values, limit: int, nullable: bool) -> Cells:
    cells = flat(values)
    kinds = set(map(type, cells))
    if kinds == {int}:
        if not -limit < min(cells) <= max(cells) < limit:
            raise OverflowError
        return cells
    if NULL in kinds:
        present = [cell for cell in cells if cell is not None]
        if not nullable:
            raise TypeError
        if present:
            integers(present, limit, nullable)
        return [nan if cell is None else cell for cell in cells]
    if not kinds <= NUMBERS:
        raise TypeError
    whole = [int(cell) for cell in cells]  # of a negative zero, too
    if whole != list(cells):
        raise ValueError
    return integers(whole, limit, nullable)


def doubles(values: Values) -> Cells:
    cells = flat(values)
    kinds = set(map(type, cells))
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return integers(values, MAX_EXACT_IN_DOUBLE, False)
    if kinds <= NUMBERS:
        return cells
    if not kinds <= {int, float, NULL}:
        raise TypeError
    return [nan if cell is None else cell for cell in cells]


def singles(values: Values) -> Cells:
    exact = np.array(doubles(values), dtype=np.float64)
    if not (np.abs(exact[~np.isnan(exact)]) < MAX_EXACT_IN_DOUBLE).all():  # integers would be rounded twice
        raise OverflowError
    rounded: list[float] = exact.astype(np.float32).tolist()
    return rounded


# -- the way back, for the proof of an engine ----------------------------------------------------------------------


def values_of(column: ColumnType, rows: MixedRows) -> Values:
    """The values of a column as the signature plan takes them."""
    if not column.is_number:
        return object_array(list(rows.texts[column.place]))
    numbers = rows.numbers[:, column.place]
    if column.dtype.kind == "i":
        return [None if cell != cell else int(cell) for cell in numbers.tolist()]
    cells: Array = numbers.astype(column.dtype)
    return cells


def compile_columns(plan: SignaturePlan) -> ColumnPlan | None:
    """The fast path for columns of several types; None if they have no names, or one holds more than a cell."""
    fields = plan.inputs
    if plan.from_type_hints or plan.tensors or not plan.named or len({field.name for field in fields}) != len(fields):
        return None
    if not all(field.type in NUMBER_TYPES | TEXTS | {"boolean"} for field in fields):
        return None
    numbers = sorted((field for field in fields if field.type not in TEXTS), key=lambda field: kind_of(type_of(field)))
    texts = [field for field in fields if field.type in TEXTS]
    places = {field.name: place for group in (numbers, texts) for place, field in enumerate(group)}
    return ColumnPlan(tuple(type_of(field, places[field.name]) for field in fields))


def type_of(field: Field, place: int = 0) -> ColumnType:
    return ColumnType(field.name, field.dtype, place, nullable=not field.required)


def kind_of(column: ColumnType) -> tuple[str, bool]:
    """Columns of one kind stand beside each other in the matrix."""
    return column.dtype.str, column.nullable and column.dtype.kind == "i"
