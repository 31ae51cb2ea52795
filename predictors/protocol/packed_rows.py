"""Rows of numbers in little memory, as large JSON texts hold them: arrays rather than an object for each number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import nan
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"

FLOAT, INTEGER, NULL = range(3)
KINDS = {float: FLOAT, int: INTEGER, type(None): NULL}
MAX_INTEGER = 2**53  # below it, every integer is exact as a double
GROWTH = 1.1
BLOCK = 2**14  # rows that become lists again at a time


class NotPackable(Exception):
    """The items are no rows of numbers, or not of the form of those before them."""


class PackedRows:
    """A list of JSON: rows, or records with the same names, or numbers; each value is null or exact as a double.

    `tolist` gives back exactly what was packed.
    """

    __slots__ = ("_kinds", "_numbers", "count", "names", "width")

    def __init__(self, first: Any) -> None:
        """Empty, for items of the form of this one."""
        self.names = tuple(first) if type(first) is dict else None
        self.width = len(first) if type(first) in (list, dict) else None
        """None for numbers without rows."""
        if self.width == 0:
            raise NotPackable
        self._numbers = np.empty((0, self.width or 1))
        self._kinds = np.empty((0, self.width or 1), np.uint8)
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def append(self, items: Sequence[Any]) -> None:
        """Packs more items; raises NotPackable, and is then as before."""
        if not items:
            return
        cells, width = self.cells_of(items), self.width or 1
        numbers, kinds = doubles(cells, width)
        end = self.count + len(items)
        if end > len(self._numbers):
            self.resize(max(end, int(GROWTH * self.count)))
        self._numbers[self.count : end], self._kinds[self.count : end] = numbers, kinds
        self.count = end

    def resize(self, count: int) -> None:
        """In place: the memory for it need not be there twice."""
        self._numbers.resize((count, self.width or 1), refcheck=False)
        self._kinds.resize((count, self.width or 1), refcheck=False)

    def close(self) -> None:
        """Nothing more will be appended."""
        self.resize(self.count)

    def cells_of(self, items: Sequence[Any]) -> list[Any]:
        if self.width is None:
            return list(items)
        wanted = list if self.names is None else dict
        if set(map(type, items)) != {wanted} or set(map(len, items)) != {self.width}:
            raise NotPackable
        if self.names is None:
            return list(chain.from_iterable(items))
        if set(map(tuple, items)) != {self.names}:
            raise NotPackable
        return list(chain.from_iterable(map(dict.values, items)))

    @property
    def numbers(self) -> Array:
        """With a row for each item; a null is NaN."""
        return self._numbers[: self.count]

    @property
    def has_nulls(self) -> bool:
        return bool((self._kinds[: self.count] == NULL).any())

    def numbers_as(self, dtype: np.dtype[Any]) -> Array | None:
        """The numbers for a tensor of this type; None if they are not all of them numbers of its kind."""
        kinds = self._kinds[: self.count]
        if self.names is not None or self.has_nulls:
            return None
        if dtype.kind == "f":
            return self.numbers
        return self.numbers.astype(np.int64) if dtype.kind in "iu" and (kinds == INTEGER).all() else None

    def column(self, index: int) -> PackedRows:
        """A column of rows or records, as a list of numbers."""
        column = PackedRows(None)
        column._numbers = self._numbers[: self.count, index : index + 1]
        column._kinds = self._kinds[: self.count, index : index + 1]
        column.count = self.count
        return column

    def tolist(self) -> list[Any]:
        items: list[Any] = []
        for start in range(0, self.count, BLOCK):
            end = min(start + BLOCK, self.count)
            cells = self.cells(start, end)
            if self.width is None:
                items += cells
                continue
            rows = [cells[at : at + self.width] for at in range(0, len(cells), self.width)]
            items += rows if self.names is None else [dict(zip(self.names, row, strict=True)) for row in rows]
        return items

    def cells(self, start: int, end: int) -> list[Any]:
        numbers, kinds = self._numbers[start:end].reshape(-1), self._kinds[start:end].reshape(-1)
        if (kinds == INTEGER).all():
            return list(numbers.astype(np.int64).tolist())
        cells: list[Any] = numbers.tolist()
        if kinds.any():
            typed = zip(cells, kinds.tolist(), strict=True)
            return [cell if kind == FLOAT else int(cell) if kind == INTEGER else None for cell, kind in typed]
        return cells


def doubles(cells: list[Any], width: int) -> tuple[Array, Array]:
    """Numbers and nulls as doubles, and what each was, as far as it is not the same in a column."""
    columns = [set(map(type, cells[index::width])) for index in range(width)]
    types = set().union(*columns)
    if not types <= KINDS.keys():
        raise NotPackable
    kinds = np.array([[KINDS[next(iter(column))] for column in columns]], np.uint8)
    if any(len(column) > 1 for column in columns):
        kinds = np.fromiter(map(KINDS.__getitem__, map(type, cells)), np.uint8, len(cells)).reshape(-1, width)
    if type(None) in types:
        cells = [nan if cell is None else cell for cell in cells]
    try:
        numbers = np.array(cells, np.float64).reshape(-1, width)
    except OverflowError:
        raise NotPackable from None
    if int in types and not (np.abs(numbers) < MAX_INTEGER).all(where=kinds == INTEGER):
        raise NotPackable
    return numbers, kinds


def is_list(value: Any) -> bool:
    """Whether it is a list of JSON, packed or not."""
    return isinstance(value, (list, PackedRows))
