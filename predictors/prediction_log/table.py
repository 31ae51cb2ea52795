"""Records as tables: a column for each input and output, named and typed by the signature; one row per row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from typing import Any, TypeAlias

import numpy as np

from predictors.prediction_log.record import Record
from predictors.protocol import jsontext, results
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import Array
from predictors.protocol.errors import RequestError
from predictors.signature.fields import SCALARS
from predictors.signature.matrix import MatrixPlan
from predictors.signature.plan import SignaturePlan

MAX_CLASSES = 100  # with a probability column each
UNNAMED = "input-0"  # its name in V2's metadata
JSON = "json"
"""The type of columns that the signature does not describe."""
Columns: TypeAlias = "dict[str, Array]"


@dataclass(slots=True)
class Table:
    """Requests to one version of a model; the first axis of each column is the rows."""

    version: str
    counts: list[int]
    """Rows of each request."""
    columns: Columns
    types: dict[str, str] = field(default_factory=dict)
    """MLflow's types of the columns, as far as the signature gives them."""

    @property
    def requests(self) -> int:
        return len(self.counts)


@dataclass(slots=True)
class Piece:
    """The columns of one record. Rows for an engine stay a matrix until they are joined with other records' rows."""

    record: Record
    rows: int
    matrix: Array | None
    columns: Columns
    types: dict[str, str]

    @property
    def shape(self) -> tuple[Any, ...]:
        """Pieces with the same shape are joined into one table."""
        prediction, plan = self.record.prediction, self.record.plan
        columns = ((name, values.dtype, values.shape[1:]) for name, values in self.columns.items())
        return id(plan), prediction.model_version, prediction.method, self.matrix is None, *self.types.items(), *columns


def tables(records: Sequence[Record]) -> Iterator[Table]:
    groups: dict[tuple[Any, ...], list[Piece]] = {}
    for record, matrix in zip(records, matrices(records), strict=True):
        piece = piece_of(record, matrix)
        groups.setdefault(piece.shape, []).append(piece)
    return (table_of(group) for group in groups.values())


def matrices(records: Sequence[Record]) -> list[Array | None]:
    """The rows of each record as a matrix, or None. Lists of several requests are converted together."""
    converted: list[Array | None] = [None] * len(records)
    lists: dict[tuple[Any, ...], tuple[MatrixPlan, list[int]]] = {}
    for i, record in enumerate(records):
        batch, matrix = record.batch, record.matrix
        if matrix is None or batch.params:
            continue
        if batch.columns is None and type(batch.rows) is list and batch.rows:
            key = id(record.plan), type(batch.rows[0]), batch.frame
            lists.setdefault(key, (matrix, []))[1].append(i)
        else:
            converted[i] = matrix.conform(batch)
    for matrix, group in lists.values():
        for i, rows in zip(group, convert_lists(matrix, [records[i].batch for i in group]), strict=True):
            converted[i] = rows
    return converted


def convert_lists(matrix: MatrixPlan, batches: Sequence[Batch]) -> list[Array | None]:
    rows = list(chain.from_iterable(batch.rows for batch in batches))
    joined = matrix.conform(replace(batches[0], rows=rows, literals=any(batch.literals for batch in batches)))
    if joined is None:  # at least one of them is no matrix
        return [matrix.conform(batch) for batch in batches]
    ends = list(accumulate(len(batch.rows) for batch in batches))
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def piece_of(record: Record, matrix: Array | None) -> Piece:
    plan, batch = record.plan, record.batch
    types: dict[str, str] = {}
    columns: Columns = {}
    if matrix is None:
        inputs, types = inputs_of(plan, batch)
        rows = len(next(iter(inputs.values()), ()))
        columns = {f"input.{name}": values for name, values in inputs.items()}
    elif plan.tensors:
        rows, columns, matrix = len(matrix), {f"input.{UNNAMED}": matrix}, None
    else:
        rows = len(matrix)
    columns |= outputs_of(record.prediction, rows)
    for name, values in (batch.entities or {}).items():
        columns[f"entity.{name}"] = cells(values)
    return Piece(record, rows, matrix, columns, types)


def table_of(pieces: Sequence[Piece]) -> Table:
    records = [piece.record for piece in pieces]
    first, counts = records[0], [piece.rows for piece in pieces]

    def per_row(values: Iterable[Any], dtype: Any) -> Array:
        return np.repeat(np.fromiter(values, dtype, len(counts)), counts)

    columns = {
        "time": per_row((record.started for record in records), np.int64).astype("datetime64[ns]"),
        "request_id": per_row((record.request_id.decode() for record in records), object),
        "model": constant(first.prediction.model_name, sum(counts)),
        "version": constant(first.prediction.model_version, sum(counts)),
        "role": per_row((record.role for record in records), object),
        "protocol": per_row((record.protocol for record in records), object),
        "method": constant(first.prediction.method, sum(counts)),
        "row": np.fromiter(chain.from_iterable(map(range, counts)), np.int32, sum(counts)),
        "latency_ms": per_row((record.duration / 1e6 for record in records), np.float64),
    }
    if pieces[0].matrix is not None:
        rows = np.concatenate([piece.matrix for piece in pieces if piece.matrix is not None])
        columns |= columns_of_matrix(first, rows)
    for name in pieces[0].columns:
        columns[name] = np.concatenate([piece.columns[name] for piece in pieces])
    return Table(first.prediction.model_version, counts, columns, dict(pieces[0].types))


def columns_of_matrix(record: Record, rows: Array) -> Columns:
    """The columns of rows for an engine, in the types of the signature."""
    names = (record.matrix.names if record.matrix is not None else ()) or [str(i) for i in range(rows.shape[1])]
    types = [column.dtype for column in record.plan.inputs] or [rows.dtype] * rows.shape[1]
    return {f"input.{name}": rows[:, i].astype(types[i]) for i, name in enumerate(names)}


# -- inputs -----------------------------------------------------------------------------------------------------


def inputs_of(plan: SignaturePlan, batch: Batch) -> tuple[Columns, dict[str, str]]:
    """The model's inputs by name, and the types of those in the signature."""
    try:
        data = plan.conform(batch)
    except RequestError:  # a subclass may accept requests that do not fit the signature
        return untyped(as_sent(batch))
    if results.is_frame(data):
        return columns_of_frame(plan, data)
    if isinstance(data, dict):
        return {str(name): np.asarray(values) for name, values in data.items()}, {}
    if isinstance(data, np.ndarray) and data.ndim:
        if plan.tensors or data.ndim != 2:
            return {UNNAMED: data}, {}
        return {str(i): data[:, i] for i in range(data.shape[1])}, {}
    return untyped(as_sent(batch))


def untyped(columns: Columns) -> tuple[Columns, dict[str, str]]:
    """Marks columns that may hold any JSON: an excluded column may be hidden inside."""
    return columns, {f"input.{name}": JSON for name, values in columns.items() if name == UNNAMED or holds_json(values)}


def holds_json(values: Array) -> bool:
    return values.dtype.kind == "O" and any(type(item) is str and item[:1] in ("[", "{") for item in values.flat)


def columns_of_frame(plan: SignaturePlan, frame: Any) -> tuple[Columns, dict[str, str]]:
    """The columns of the signature, with empty ones for optional columns that the request omits, then all others."""
    remaining: Columns = {str(name): frame.iloc[:, i].to_numpy() for i, name in enumerate(frame.columns)}
    columns, types = {}, {}
    for index, column in enumerate(plan.inputs):
        name = column.name if plan.named else str(index)
        values = remaining.pop(name, None)
        scalar = column.type in SCALARS
        if values is None:
            values = constant(None, len(frame))
        columns[name] = values if scalar else json_texts(values)
        types[f"input.{name}"] = column.type if scalar else "string"
    return {**columns, **remaining}, types


def as_sent(batch: Batch) -> Columns:
    """The columns of the request; rows that are no table become one column."""
    rows = batch.rows
    if batch.columns is not None:
        return {name: cells(values) for name, values in batch.columns.items()}
    if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        names = dict.fromkeys(chain.from_iterable(rows))
        return {name: cells([row.get(name) for row in rows]) for name in names}
    return {UNNAMED: cells(rows if isinstance(rows, (list, np.ndarray)) else [rows])}


# -- outputs ----------------------------------------------------------------------------------------------------


def outputs_of(prediction: Prediction, rows: int) -> Columns:
    columns: Columns = {}
    for name, values in results.named_tensors(prediction).items():
        if values.ndim == 0 or len(values) != rows:
            column = constant(None, rows)
            column[:1] = json_text(values)
            columns[f"output.{name}"] = column
        elif name == results.PROBABILITIES and values.ndim == 2 and values.shape[1] <= MAX_CLASSES:
            columns |= {f"probability.{i}": values[:, i] for i in range(values.shape[1])}
        else:
            columns[f"output.{name}"] = decoded(values) if values.dtype.kind == "O" else values
    return columns


def decoded(values: Array) -> Array:
    texts = np.empty(values.shape, dtype=object)
    for index, item in np.ndenumerate(values):
        texts[index] = item.decode("utf-8", "replace") if isinstance(item, bytes) else item
    return texts


# -- values -----------------------------------------------------------------------------------------------------


def constant(value: Any, rows: int) -> Array:
    return np.full(rows, value, dtype=object)


def cells(values: Any) -> Array:
    """A column of plain values, or of JSON texts if one is a list or an object."""
    if isinstance(values, np.ndarray):
        return decoded(values) if values.dtype.kind == "O" else values
    if any(isinstance(value, (list, dict)) for value in values):
        return json_texts(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def json_texts(values: Any) -> Array:
    """JSON text for each row; a null stays a null."""
    texts = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        texts[i] = None if value is None else json_text(value)
    return texts


def json_text(value: Any) -> str:
    return jsontext.dump(results.jsonable(value)).decode()
