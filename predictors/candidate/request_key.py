"""The key of a request: requests with the same key get the same version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from predictors.protocol.batch import Batch

HEADER = "header"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Where the key of a request is. An entity's key column and any other column are found alike."""

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> RequestKey:
        """From a text that the settings have checked."""
        kind, _, name = text.partition(":")
        return cls(kind, name.strip().lower() if kind == HEADER else name.strip())

    @property
    def in_rows(self) -> bool:
        """Whether the request must be decoded first."""
        return self.kind != HEADER

    @property
    def header(self) -> bytes:
        """The name of the header, as it arrives."""
        return self.name.encode("latin-1", "replace")

    def of_rows(self, batch: Batch, names: Sequence[str]) -> bytes | None:
        """The key in the first row; `names` are those of the columns, for rows without names."""
        value = self.first_value(batch, names)
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float):  # 5 and 5.0 are one caller, whichever protocol they come by
            value = int(value) if value.is_integer() else None if isnan(value) else value
        if isinstance(value, bytes):
            return value
        return str(value).encode("utf-8", "surrogatepass") if isinstance(value, (str, int, float)) else None

    def first_value(self, batch: Batch, names: Sequence[str]) -> Any:
        rows = batch.rows
        if batch.columns is not None:
            values: Any = batch.columns.get(self.name)
            if values is None and len(batch.columns) == 1:  # one tensor may be the whole matrix
                (rows,) = batch.columns.values()
            elif values is not None:
                values = np.ravel(values) if isinstance(values, np.ndarray) else values
                return values[0] if len(values) else None
        first = rows[0] if isinstance(rows, (list, np.ndarray)) and len(rows) else None
        if isinstance(first, dict):
            return first.get(self.name)
        if self.name in names and isinstance(first, (list, tuple, np.ndarray)):
            position = names.index(self.name)
            return first[position] if position < len(first) else None
        return None
