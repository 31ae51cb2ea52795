"""Parquet files by time and size. Rows wait in memory until their file can be written at once."""

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

from predictors.prediction_log.places import LogFolder
from predictors.prediction_log.sink import SinkReport
from predictors.prediction_log.table import Table, texts
from predictors.protocol.casting import Array
from predictors.storage.failures import one_line
from predictors.storage.redaction import without_secrets

MAX_OPEN = 16
"""Files at a time, of requests with different columns."""
PAUSE, MAX_PAUSE = 1.0, 30.0  # seconds until a file is tried again, doubled each time
LAST_PAUSE = 0.2  # when the process ends
MAX_NAME_LENGTH = 200  # bytes; file systems take 255
KINDS: dict[type, Any] = {str: pa.string(), bytes: pa.binary(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
TYPES: dict[str, Any] = {
    "boolean": pa.bool_(), "integer": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "string": pa.string(), "binary": pa.binary(), "datetime": pa.timestamp("ns"),
}  # fmt: skip
TIME = pa.timestamp("us", "UTC")
Key: TypeAlias = "tuple[str, Any, str]"


@dataclass(slots=True)
class Open:
    """What is to be one file."""

    name: str
    begun: float
    batches: list[Any] = field(default_factory=list)
    requests: int = 0
    size: int = 0
    due: float = 0.0
    """When it is tried next, after a failure."""
    failures: int = 0


class Parquet:
    def __init__(self, find: Callable[[], LogFolder], max_age: float, max_size: int, outcome: SinkReport) -> None:
        self.find = find
        self.place: LogFolder | None = None
        """Found when it is first needed, as often as it takes."""
        self.max_age, self.max_size = max_age, max_size
        self.outcome = outcome
        self.files: dict[Key, Open] = {}
        self.full: list[Open] = []
        """They take no more."""
        self.ours, self.numbers = uuid4().hex[:12], count(1)

    def ready(self) -> bool:
        """No more is taken while as much as two files can hold could not be written."""
        return sum(one.size for one in (*self.files.values(), *self.full)) < 2 * self.max_size

    def write(self, table: Table) -> None:
        came = table.columns["time"]
        if not len(came):  # nothing to write, and no day and no model to name a file by
            self.outcome.written(table.requests)
            return
        arrays = {name: arrow(values, table.types.get(name)) for name, values in table.columns.items()}
        batch = pa.RecordBatch.from_pydict({**arrays, "time": arrays["time"].cast(TIME, safe=False)})
        # One request is never split, and of those that are converted together the first decides.
        day = str(came[0].astype("datetime64[D]"))
        key = table.version, batch.schema, day
        file = self.files.get(key)
        if file is None:
            if len(self.files) >= MAX_OPEN:
                self.full.append(self.files.pop(next(iter(self.files))))
            model = str(table.columns["model"][0])
            file = self.files[key] = Open(self.new_name(model, table.version, day), time.monotonic())
        file.batches.append(batch)
        file.requests += table.requests
        file.size += batch.nbytes
        if file.size >= self.max_size:
            self.full.append(self.files.pop(key))
            self.tick(False)

    def new_name(self, model: str, version: str, day: str) -> str:
        moment = datetime.now(UTC).strftime("%H%M%S")
        folder = f"{folder_name(model)}/{folder_name(version)}/date={day}"
        return f"{folder}/{moment}-{self.ours}-{next(self.numbers)}.parquet"

    def tick(self, closing: bool) -> bool:
        now = time.monotonic()
        for key, file in list(self.files.items()):
            if closing or now - file.begun >= self.max_age:
                self.full.append(self.files.pop(key))
        for file in list(self.full):
            if closing:
                file.due = min(file.due, now + LAST_PAUSE)  # as it was, it may be after the end
            if now >= file.due:
                self.finish(file, closing)
        return not self.full

    def finish(self, file: Open, closing: bool) -> None:
        try:
            if self.place is None:
                self.place = self.find()
            self.place.put(file.name, written(file.batches))
        except Exception as error:
            pause = min(PAUSE * 2**file.failures, MAX_PAUSE)
            file.failures += 1
            file.due = time.monotonic() + (LAST_PAUSE if closing else pause)
            words = without_secrets(one_line(error))
            self.outcome.trouble("a file cannot be written, and is tried again: %s", words)
        else:
            self.full.remove(file)
            self.outcome.written(file.requests)


def folder_name(text: str) -> str:
    """Below the log's folder, and not hidden: readers skip what begins with a dot or an underscore."""
    quoted = quote(text, safe="")[:MAX_NAME_LENGTH]
    return f"%{ord(quoted[0]):02X}{quoted[1:]}" if quoted[:1] in (".", "_") else quoted


def written(batches: list[Any]) -> Any:
    made = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches(batches).combine_chunks(), made, compression="zstd")
    return made.getvalue()


def arrow(values: Array, type_name: str | None) -> Any:
    """A column in the type that the signature gives it, else in that of its values."""
    wanted = TYPES.get(type_name or "")
    if wanted is not None:
        try:
            nullable = values.dtype.kind == "O" or not pa.types.is_floating(wanted)
            return pa.array(values, from_pandas=nullable).cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            pass  # it holds what the signature does not foresee
    if values.ndim > 1:
        return lists(values)
    return of_objects(values) if values.dtype.kind == "O" else pa.array(values)


def lists(values: Array) -> Any:
    """One list for each row, nested where there are more axes."""
    made = arrow(values.reshape(-1), None)
    for axis in range(values.ndim - 1, 0, -1):
        ends = np.arange(prod(values.shape[:axis]) + 1, dtype=np.int32) * values.shape[axis]
        made = pa.ListArray.from_arrays(ends, made)
    return made


def of_objects(values: Array) -> Any:
    """Plain values of one type as such, anything else as JSON text."""
    kinds = {type(value) for value in values.tolist()} - {type(None)}
    if kinds == {int, float}:
        kinds = {float}
    kind = next(iter(kinds)) if len(kinds) == 1 else None
    try:
        return pa.array(values, KINDS[kind] if kind in KINDS else pa.string() if not kinds else None)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array(texts(values), pa.string())
