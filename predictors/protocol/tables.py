"""Tables in the files of other programs: what is known of their columns before they are read, and their values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput
from predictors.protocol.ignored import Ignored

MAX_COLUMNS = 10_000
MAX_ABSENT = 2**20  # values that rows leave out; no bytes of the body pay for the memory that they take,
MAX_SPARSITY = 16  # but each value that is there pays for so many of them


def is_sparse(rows: int, columns: int, values: int, most: int = MAX_SPARSITY) -> bool:
    """Whether a table has so few values that it would be much larger than what was sent."""
    return rows * columns - values > MAX_ABSENT + most * values


def all_names(names: Iterable[str]) -> Collection[str]:
    return list(names)


@dataclass(frozen=True, slots=True)
class TableColumns:
    """What a model says of the columns of a table."""

    texts: Sequence[str] = ()
    """Columns whose cells are not parsed as numbers: "007" stays "007"."""
    select: Callable[[Iterable[str]], Collection[str]] = all_names
    """The names of the columns to read, before any value is read; columns that do not fit are refused."""
    ignored: Ignored | None = None
    """Where columns are noted that are not read; None if they are refused."""
    most: int = MAX_COLUMNS

    def check_number(self, number: int, form: str) -> None:
        if number > self.most:
            raise InvalidInput(f"the {form} has more than {self.most} columns")


ANY = TableColumns()


def batch_of_frame(frame: Any, form: str, ignored: Ignored | None = None) -> Batch:
    if frame.empty:
        raise InvalidInput(f"the {form} has no rows")
    columns = {str(name): column_values(frame.iloc[:, i]) for i, name in enumerate(frame)}
    if len(columns) < frame.shape[1]:
        raise InvalidInput(f"the {form} has several columns of one name")
    return Batch(columns=columns, frame=True, ignored=ignored)


def column_values(series: Any) -> Any:
    """A pandas column as typed values, with null for each of pandas' missing values."""
    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series.dtype, np.dtype) and kind in "iufbM":
        return series.to_numpy()
    cells = series.astype(object).where(series.notna(), None).tolist()
    return [cell.tolist() if isinstance(cell, (np.ndarray, np.generic)) else cell for cell in cells]
