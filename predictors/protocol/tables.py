"""Tables in the files of other programs: what is known of their columns before they are read, and their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput

MAX_COLUMNS = 10_000


def any_names(names: Iterable[str]) -> None:
    """Accepts columns of all names."""


@dataclass(frozen=True, slots=True)
class TableColumns:
    """What a model says of the columns of a table."""

    texts: Sequence[str] = ()
    """Columns whose cells are not parsed as numbers: "007" stays "007"."""
    check: Callable[[Iterable[str]], None] = any_names
    """Refuses columns by their names, before their values are read."""
    most: int = MAX_COLUMNS

    def check_number(self, number: int, form: str) -> None:
        if number > self.most:
            raise InvalidInput(f"the {form} has more than {self.most} columns")


ANY = TableColumns()


def batch_of_frame(frame: Any, form: str) -> Batch:
    if frame.empty:
        raise InvalidInput(f"the {form} has no rows")
    columns = {str(name): column_values(frame.iloc[:, i]) for i, name in enumerate(frame)}
    if len(columns) < frame.shape[1]:
        raise InvalidInput(f"the {form} has several columns of one name")
    return Batch(columns=columns, frame=True)


def column_values(series: Any) -> Any:
    """A pandas column as typed values, with null for each of pandas' missing values."""
    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series.dtype, np.dtype) and kind in "iufbM":
        return series.to_numpy()
    cells = series.astype(object).where(series.notna(), None).tolist()
    return [cell.tolist() if isinstance(cell, (np.ndarray, np.generic)) else cell for cell in cells]
