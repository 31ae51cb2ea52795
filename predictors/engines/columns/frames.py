"""DataFrames of single cells, with the types that the model's input has: what transformers are asked with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from predictors.protocol.casting import object_array
from predictors.protocol.mixed_rows import ColumnType

Cell: TypeAlias = "str | float | None"
"""A text or a number; None is null."""


def frame_of(columns: Sequence[ColumnType], rows: Sequence[Sequence[Cell]]) -> Any:
    import pandas as pd

    cells = zip(*rows, strict=True)
    return pd.DataFrame({column.name: column_of(column, values) for column, values in zip(columns, cells, strict=True)})


def column_of(column: ColumnType, cells: Sequence[Cell]) -> Any:
    if column.is_text:
        return object_array(list(cells))
    numbers = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    return numbers if column.dtype.kind == "i" and np.isnan(numbers).any() else numbers.astype(column.dtype)
