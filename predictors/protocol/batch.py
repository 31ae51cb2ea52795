"""`Batch` and `Prediction`: what every protocol decodes a request to and encodes a reply from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np

from predictors.protocol.ignored import Ignored
from predictors.protocol.packed_rows import PackedRows

OBJECTS = (
    12  # times the size of a JSON text that its values take as Python's objects; short numbers and texts take most
)
RELEASED = 4096  # values that are freed at a time

Values: TypeAlias = "list[Any] | np.ndarray[Any, Any]"


class Missing:
    """The type of `MISSING`, which stands in a column for a record that lacks it while other records have it."""

    def __repr__(self) -> str:
        return "missing"

    def __reduce__(self) -> str:
        """Copying and unpickling give the same object, so that `is` finds it."""
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """An output that the caller asked for by name; `binary` is None where the caller did not choose its form."""

    name: str
    binary: bool | None = None


@dataclass(slots=True)
class Batch:
    """The rows of one request, and what the caller wants from the model for them.

    Either `columns` (inputs by name) or `rows` is set. `rows` is anything else: a list of rows or of records,
    a matrix, or the JSON of a model without a tabular signature. Lists hold JSON values as parsed; arrays are
    typed tensors. Lists of numbers in a large request are `PackedRows`, until `unpacked`.
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
    """Whether lists may hold true, false or null; False only if the text of the request rules that out."""
    tensors: bool = False
    """The columns are V2 tensors: a single one, whatever its name, may be the whole matrix."""
    bare: bool = False
    """The body itself is the model's input (a chat request), not a protocol's envelope; the reply has none either."""
    frame: bool = False
    """The caller sent a table (`dataframe_split`, CSV, …): without a signature it stays a DataFrame."""
    ignored: Ignored | None = None
    """What is left out of the request, as far as is known; values are then cast as on MLflow's server. None if such a
    request is refused."""
    source: tuple[str, Any] | None = None
    """The form and the value that MLflow's server hands a model without a signature."""
    has_params: bool = False
    """The caller sent params, if only an empty object: MLflow hands the model that rather than None."""
    entities: Mapping[str, Values] | None = None
    """The join keys, if the features of the request were looked up."""

    def unpacked(self) -> Batch:
        """The same request with lists for `PackedRows`, which only a `MatrixPlan` reads."""
        lists: dict[int, list[Any]] = {}

        def listed(value: Any) -> Any:
            if type(value) is PackedRows:
                return lists.get(id(value)) or lists.setdefault(id(value), value.tolist())
            return {key: listed(item) for key, item in value.items()} if type(value) is dict else value

        self.rows, self.columns = listed(self.rows), listed(self.columns)
        self.source = self.source and (self.source[0], listed(self.source[1]))
        return self

    def with_matrix(self, rows: np.ndarray[Any, Any]) -> Batch:
        """The same request with its rows as one matrix of numbers; its own values are freed."""
        batch = replace(self, columns={"a matrix": rows}, rows=None, source=None, tensors=True)
        self.release()
        return batch

    def release(self) -> None:
        """Frees the values a few at a time: to free millions at once would hold up all other threads."""
        for values in (self.rows, *(self.columns or {}).values()):
            while isinstance(values, list) and values:
                del values[-RELEASED:]
        self.rows, self.columns, self.source = None, {}, None

    def copy(self) -> Batch:
        """A copy with rows of its own, for a model that may write to its input."""
        return replace(self, columns=deepcopy(self.columns), rows=deepcopy(self.rows))


@dataclass(slots=True)
class Prediction:
    """The model's result, as the model returned it."""

    result: Any
    method: str
    model_name: str
    model_version: str
    output_names: Sequence[str] = ()
    """The signature's names for the outputs; empty if it names none."""
    probabilities: Any = None

    def copy(self) -> Prediction:
        """A copy with values of its own, for a model that may write to what it has returned."""
        return replace(self, result=_copy(self.result), probabilities=_copy(self.probabilities))


def _copy(result: Any) -> Any:
    if isinstance(result, Mapping):
        return {name: _copy(values) for name, values in result.items()}
    return result.copy() if hasattr(result, "copy") else result


def row_count(batch: Batch) -> int:
    if batch.columns is not None:
        first: Any = next(iter(batch.columns.values()), ())
        return len(first) if getattr(first, "ndim", 1) else 1
    return len(batch.rows) if hasattr(batch.rows, "__len__") else 1


def memory_of(batch: Batch, size: int) -> int:
    """Bytes of the values of a request of this size, about."""
    values = [one for one in (*(batch.columns or {}).values(), batch.rows) if one is not None]
    if any(not isinstance(one, np.ndarray) or one.dtype.kind == "O" for one in values):
        return OBJECTS * size
    return sum(one.nbytes for one in values)
