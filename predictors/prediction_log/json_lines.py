"""JSON lines on stdout, one for each row."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from predictors.prediction_log.sink import SinkReport
from predictors.prediction_log.table import Table
from predictors.protocol import jsontext, results
from predictors.protocol.casting import Array

STDOUT = 1
GROUPS = {"input": "inputs", "output": "outputs", "entity": "entities"}


def row_objects(table: Table) -> list[dict[str, Any]]:
    """A nested object for each row of the table."""
    flat = {name: json_values(values) for name, values in table.columns.items()}
    nested: dict[str, dict[str, list[Any]]] = {}
    probabilities: list[list[Any]] = []
    top: dict[str, list[Any]] = {}
    for name, values in flat.items():
        group, dot, rest = name.partition(".")
        if not dot:
            top[name] = values
        elif group == "probability":
            probabilities.append(values)
        else:
            nested.setdefault(GROUPS[group], {})[rest] = values
    columns: dict[str, list[Any]] = {**top, **{group: by_row(columns) for group, columns in nested.items()}}
    if probabilities:
        columns["probabilities"] = [list(row) for row in zip(*probabilities, strict=True)]
    return by_row(columns)


def by_row(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def json_values(values: Array) -> list[Any]:
    if values.dtype.kind == "M":
        return [moment and f"{moment}Z" for moment in results.json_array(values)]
    items: list[Any] = values.tolist()
    return items


class JsonLines:
    """Writes whole lines only, even if other workers write to the same stdout."""

    def __init__(self, outcome: SinkReport, lock: Callable[[], AbstractContextManager[None]]) -> None:
        self.outcome = outcome
        self.lock = lock

    def ready(self) -> bool:
        return True

    def write(self, table: Table) -> None:
        content = memoryview(b"".join(jsontext.dump(row) + b"\n" for row in row_objects(table)))
        try:
            with self.lock():
                while content:
                    content = content[os.write(STDOUT, content) :]
        except OSError as error:
            self.outcome.failed(table.requests)
            self.outcome.log_error("cannot write to stdout: %s", error.strerror)
        else:
            self.outcome.written(table.requests)

    def tick(self, closing: bool) -> bool:
        return True
