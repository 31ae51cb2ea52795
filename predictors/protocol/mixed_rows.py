"""Rows of columns of different types, as engines take them: numbers in one matrix, texts in lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from predictors.protocol.casting import Array


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What a column holds, and where `MixedRows` has it."""

    name: str
    dtype: np.dtype[Any]
    """Of the model's input; objects for text."""
    place: int
    """The column of the matrix, or the list of texts."""
    nullable: bool = False
    """Whether a number may be null."""

    @property
    def is_text(self) -> bool:
        return self.dtype.kind == "O"

    @property
    def is_number(self) -> bool:
        return not self.is_text and not self.is_date

    @property
    def is_date(self) -> bool:
        return self.dtype.kind == "M"


class MixedRows:
    """Rows of one or more requests; a `ColumnType` knows the place of its column."""

    __slots__ = ("numbers", "texts")

    def __init__(self, numbers: Array, texts: Sequence[Sequence[str | None]]) -> None:
        self.numbers = numbers
        """As doubles, in which every number of a signature is exact; a null is NaN."""
        self.texts = texts
        """A list for each column of text or of dates, which are as they were sent."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice) -> MixedRows:
        return MixedRows(self.numbers[rows], [texts[rows] for texts in self.texts])

    def copy(self) -> MixedRows:
        return MixedRows(self.numbers.copy(order="K"), self.texts)

    def cells(self, column: ColumnType) -> Sequence[str | None] | Array:
        """The texts or numbers of a column; booleans as such."""
        if not column.is_number:
            return self.texts[column.place]
        numbers = self.numbers[:, column.place]
        return numbers.astype(np.bool_) if column.dtype.kind == "b" else numbers


def join_rows(parts: Sequence[Any]) -> Any:
    """The rows of several requests as those of one, be they matrices or mixed."""
    if not isinstance(parts[0], MixedRows):
        return np.concatenate(parts)
    texts = [list(chain.from_iterable(column)) for column in zip(*(part.texts for part in parts), strict=True)]
    columns = np.concatenate([part.numbers.T for part in parts], axis=1)  # column after column in memory
    return MixedRows(columns.T, texts)
