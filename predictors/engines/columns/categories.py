"""The outputs of an encoder for each category of a column, as a table of the entries that are not zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.engines.columns.frames import Cell
from predictors.engines.engine import Declined
from predictors.protocol.casting import Array
from predictors.protocol.mixed_rows import ColumnType

UNKNOWN_TEXT = "\x00unknown\x00"
CHUNK_OUTPUTS = 4_000_000


class Codes(dict[Any, int]):
    """The codes of a column's categories. Any other value has that of unknown ones, if the encoder takes them."""

    unknown: int | None = None

    def __missing__(self, cell: Cell) -> int:
        if self.unknown is None or cell is None:
            raise Declined  # the model's own error says what it misses
        return self.unknown

    def shift(self, offset: int) -> None:
        """Adds to all codes, for a table that follows others."""
        for cell in self:
            self[cell] += offset
        if self.unknown is not None:
            self.unknown += offset


@dataclass(frozen=True)
class CategoryTable:
    """What the output for a column's categories has, as far as it depends on the column."""

    column: ColumnType
    codes: Codes
    count: int
    """The number of codes."""
    owned: Array
    """The positions in the output that depend on the column, in order."""
    rows: Array
    """The codes of the entries that are not zero, in order; with the two below an item for each."""
    positions: Array
    values: Array

    @property
    def most_entries(self) -> int:
        return int(np.bincount(self.rows, minlength=1).max())

    def padded(self, size: int) -> tuple[Array, Array]:
        """The positions and values of each code's entries, filled up with zeros at positions that have no entry."""
        counts = np.bincount(self.rows, minlength=self.count)
        slots = np.arange(len(self.rows)) - np.repeat(counts.cumsum() - counts, counts)
        positions = np.full((self.count, size), self.owned[0], dtype=np.int32)
        values = np.zeros((self.count, size))
        for code in np.flatnonzero((counts > 0) & (counts < size)):
            free = np.setdiff1d(self.owned, self.positions[self.rows == code])
            positions[code] = free[0]
        positions[self.rows, slots], values[self.rows, slots] = self.positions, self.values
        return positions, values


def category_table(
    column: ColumnType, known: Sequence[Cell], outputs: Callable[[Sequence[Cell]], Array], start: Array
) -> CategoryTable:
    """Asks for the outputs of all categories; `start` is that of the first one."""
    codes = Codes({cell: code for code, cell in enumerate(known)})
    step = max(1, CHUNK_OUTPUTS // len(start))
    changes = []
    for at in range(0, len(known), step):
        changes.append(changed(outputs(known[at : at + step]), start, at))
    count = len(known)
    for cell in other_cells(column, known):
        try:
            changes.append(changed(outputs([cell]), start, count))
        except Exception:  # noqa: S112 - the encoder refuses it, and so does the engine
            continue
        if cell is None:
            codes[None] = count
        else:
            codes.unknown = count
        count += 1
    rows, positions, values = (np.concatenate(part) for part in zip(*changes, strict=True))
    owned = np.unique(positions)
    kept = [(rows, positions, values)]
    for position in owned[start[owned] != 0]:  # the categories that share the first one's entry
        others = np.setdiff1d(np.arange(count), rows[positions == position])
        kept.append((others, np.full(len(others), position), np.full(len(others), start[position])))
    rows, positions, values = (np.concatenate(part) for part in zip(*kept, strict=True))
    order = np.lexsort((positions, rows))
    order = order[values[order] != 0]
    return CategoryTable(column, codes, count, owned, rows[order], positions[order], values[order])


def other_cells(column: ColumnType, known: Sequence[Cell]) -> list[Cell]:
    """A value that is no category, and null."""
    null: list[Cell] = [None] if column.is_text or column.nullable or column.dtype.kind == "f" else []
    if column.is_text:
        return [UNKNOWN_TEXT, *null]
    numbers = {cell for cell in known if cell is not None}
    if column.dtype.kind == "b":
        return [float(value) for value in (0, 1) if value not in numbers]
    return [max(map(float, numbers), default=0.0) + 1, *null]


def changed(outputs: Array, start: Array, first: int) -> tuple[Array, Array, Array]:
    """The codes, positions and values of outputs that differ from `start`; `first` is the code of the first row."""
    differs = (outputs != start) & ~(np.isnan(outputs) & np.isnan(start))
    rows, positions = np.nonzero(differs)
    return rows + first, positions, outputs[rows, positions]
