"""What every protocol decodes to and encodes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np

Values: TypeAlias = "list[Any] | np.ndarray[Any, Any]"


class Missing:
    """Marks a record that lacks a column that other records of the same request have."""

    def __repr__(self) -> str:
        return "missing"

    def __reduce__(self) -> str:
        """There is one, also in copies."""
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """One output that the caller asked for by name."""

    name: str
    binary: bool | None = None


@dataclass(slots=True)
class Batch:
    """The rows of one request and what is to be done with them.

    Either `columns` (inputs by name) or `rows` (anything else: a list of rows or of records, a matrix, or
    whatever JSON a model without a tabular signature takes). Lists hold JSON values as parsed; arrays are
    typed tensors.
    """

    columns: dict[str, Values] | None = None
    rows: Any = None
    method: str | None = None
    probabilities: bool | None = None
    params: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    outputs: Sequence[OutputRequest] | None = None
    binary_output: bool = False
    literals: bool = True
    """Whether true, false or null may be among the values of lists; false where the text shows that none is."""
    tensors: bool = False
    """The columns are V2 tensors: a single one may be the whole matrix, whatever its name."""
    bare: bool = False
    """A chat request as the model itself has it, not wrapped in a protocol: so is the reply."""
    frame: bool = False
    """The caller sent a table (`dataframe_split`, CSV, …): without a signature it stays a DataFrame."""
    entities: Mapping[str, Values] | None = None
    """Of a request whose features were looked up: its join keys."""

    def copied(self) -> Batch:
        """The same rows once more, for a model that may change what it gets."""
        return replace(self, columns=deepcopy(self.columns), rows=deepcopy(self.rows))


@dataclass(slots=True)
class Prediction:
    """What the model answered, as it answered it."""

    result: Any
    method: str
    model_name: str
    model_version: str
    output_names: Sequence[str] = ()
    """The names that the signature gives to the model's outputs; empty where it names none."""
    probabilities: Any = None

    def copied(self) -> Prediction:
        """The same once more, of a model that may write to what it gave."""
        return replace(self, result=_copied(self.result), probabilities=_copied(self.probabilities))


def _copied(result: Any) -> Any:
    if isinstance(result, Mapping):
        return {name: _copied(values) for name, values in result.items()}
    return result.copy() if hasattr(result, "copy") else result


def row_count(batch: Batch) -> int:
    if batch.columns is not None:
        first: Any = next(iter(batch.columns.values()), ())
        return len(first) if getattr(first, "ndim", 1) else 1
    return len(batch.rows) if hasattr(batch.rows, "__len__") else 1
