"""Parquet files, finished by age and size. Rows wait in memory until their whole file can be written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from math import prod
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from predictors.prediction_log.file_stores import FileStore
from predictors.prediction_log.sink import SinkReport
from predictors.prediction_log.table import Table, json_texts
from predictors.protocol.casting import Array
from predictors.storage.failures import one_line
from predictors.storage.redaction import without_secrets

MAX_OPEN_FILES = 16  # requests with different columns go to different files
BACKOFF, MAX_BACKOFF = 1.0, 30.0  # seconds until a failed write is retried, doubled each time
CLOSING_BACKOFF = 0.2  # seconds, when the process ends
MAX_NAME_LENGTH = 200  # bytes; file systems allow 255
KINDS: dict[type, Any] = {str: pa.string(), bytes: pa.binary(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
TYPES: dict[str, Any] = {
    "boolean": pa.bool_(), "integer": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "string": pa.string(), "binary": pa.binary(), "datetime": pa.timestamp("ns"),
}  # fmt: skip
TIME = pa.timestamp("us", "UTC")
Key: TypeAlias = "tuple[str, Any, str]"


@dataclass(slots=True)
class OpenFile:
    """The rows of a file that is not written yet."""

    name: str
    opened: float
    batches: list[Any] = field(default_factory=list)
    requests: int = 0
    size: int = 0
    next_attempt: float = 0.0
    """When a failed write is retried."""
    failures: int = 0


class ParquetFiles:
    def __init__(self, open_store: Callable[[], FileStore], max_age: float, max_size: int, outcome: SinkReport) -> None:
        self.open_store = open_store
        self.store: FileStore | None = None
        """Opened when the first file is written; a failure is retried with the file."""
        self.max_age, self.max_size = max_age, max_size
        self.outcome = outcome
        self.files: dict[Key, OpenFile] = {}
        self.full: list[OpenFile] = []
        """Files that get no more rows."""
        self.writer_id, self.numbers = uuid4().hex[:12], count(1)

    def ready(self) -> bool:
        """False while the rows that could not be written would fill two files."""
        return sum(file.size for file in (*self.files.values(), *self.full)) < 2 * self.max_size

    def write(self, table: Table) -> None:
        times = table.columns["time"]
        if not len(times):  # there is no day and no model to name a file by
            self.outcome.written(table.requests)
            return
        arrays = {name: arrow_array(values, table.types.get(name)) for name, values in table.columns.items()}
        batch = pa.RecordBatch.from_pydict({**arrays, "time": arrays["time"].cast(TIME, safe=False)})
        # A request is never split over files; the day of the first one decides for all that are converted together.
        day = str(times[0].astype("datetime64[D]"))
        key = table.version, batch.schema, day
        file = self.files.get(key)
        if file is None:
            if len(self.files) >= MAX_OPEN_FILES:
                self.full.append(self.files.pop(next(iter(self.files))))
            model = str(table.columns["model"][0])
            file = self.files[key] = OpenFile(self.new_name(model, table.version, day), time.monotonic())
        file.batches.append(batch)
        file.requests += table.requests
        file.size += batch.nbytes
        if file.size >= self.max_size:
            self.full.append(self.files.pop(key))
            self.tick(closing=False)

    def new_name(self, model: str, version: str, day: str) -> str:
        moment = datetime.now(UTC).strftime("%H%M%S")
        folder = f"{folder_name(model)}/{folder_name(version)}/date={day}"
        return f"{folder}/{moment}-{self.writer_id}-{next(self.numbers)}.parquet"

    def tick(self, closing: bool) -> bool:
        now = time.monotonic()
        for key, file in list(self.files.items()):
            if closing or now - file.opened >= self.max_age:
                self.full.append(self.files.pop(key))
        for file in list(self.full):
            if closing:
                file.next_attempt = min(file.next_attempt, now + CLOSING_BACKOFF)
            if now >= file.next_attempt:
                self.finish(file, closing)
        return not self.full

    def finish(self, file: OpenFile, closing: bool) -> None:
        try:
            if self.store is None:
                self.store = self.open_store()
            self.store.put(file.name, parquet_bytes(file.batches))
        except Exception as error:
            backoff = CLOSING_BACKOFF if closing else min(BACKOFF * 2**file.failures, MAX_BACKOFF)
            file.failures += 1
            file.next_attempt = time.monotonic() + backoff
            self.outcome.log_error("a file cannot be written and is retried: %s", without_secrets(one_line(error)))
        else:
            self.full.remove(file)
            self.outcome.written(file.requests)


def folder_name(text: str) -> str:
    """A folder name that is not hidden: readers skip names that begin with a dot or an underscore."""
    quoted = quote(text, safe="")[:MAX_NAME_LENGTH]
    return f"%{ord(quoted[0]):02X}{quoted[1:]}" if quoted[:1] in (".", "_") else quoted


def parquet_bytes(batches: list[Any]) -> Any:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches(batches).combine_chunks(), buffer, compression="zstd")
    return buffer.getvalue()


def arrow_array(values: Array, type_name: str | None) -> Any:
    """A column in the type that the signature gives it, else in that of its values."""
    arrow_type = TYPES.get(type_name or "")
    if arrow_type is not None:
        try:
            nullable = values.dtype.kind == "O" or not pa.types.is_floating(arrow_type)
            return pa.array(values, from_pandas=nullable).cast(arrow_type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            pass  # the values do not fit the signature
    if values.ndim > 1:
        return nested_lists(values)
    return object_array(values) if values.dtype.kind == "O" else pa.array(values)


def nested_lists(values: Array) -> Any:
    """A list for each row, nested for further axes."""
    array = arrow_array(values.reshape(-1), None)
    for axis in range(values.ndim - 1, 0, -1):
        ends = np.arange(prod(values.shape[:axis]) + 1, dtype=np.int32) * values.shape[axis]
        array = pa.ListArray.from_arrays(ends, array)
    return array


def object_array(values: Array) -> Any:
    """Values of one plain type as that type, all others as JSON text."""
    kinds = {type(value) for value in values.tolist()} - {type(None)}
    if kinds == {int, float}:
        kinds = {float}
    kind = next(iter(kinds)) if len(kinds) == 1 else None
    try:
        return pa.array(values, KINDS[kind] if kind in KINDS else pa.string() if not kinds else None)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array(json_texts(values), pa.string())
