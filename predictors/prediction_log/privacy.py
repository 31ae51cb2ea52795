"""Excludes columns from the log, and replaces the values of others by hashes."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Collection
from typing import Any

import numpy as np

from predictors.prediction_log.table import JSON, Table, json_text
from predictors.protocol import results
from predictors.protocol.casting import Array
from predictors.protocol.jsontext import is_missing

log = logging.getLogger("predictors")

INTEGER_TYPES = ("integer", "long")


class Privacy:
    """Columns may be named with their prefix (`input.age`) or without (`age`)."""

    def __init__(self, excluded: Collection[str], hashed: Collection[str], key: bytes | None = None) -> None:
        self.excluded = excluded
        self.hashed = hashed
        self.key = key
        self.checked_versions: set[str] = set()
        """Versions whose columns have been compared with the names above."""

    def applied(self, table: Table) -> Table:
        if not self.excluded and not self.hashed:
            return table
        self.warn_unknown_columns(table)
        columns = {}
        for name, values in table.columns.items():
            hashed = is_named(name, self.hashed)
            unknown = table.types.get(name) == JSON and not hashed  # it may hold values of an excluded column
            if not is_named(name, self.excluded) and not unknown:
                columns[name] = self.hashes(values, table.types.get(name, "")) if hashed else values
                if hashed:
                    table.types[name] = "string"
        table.columns = columns
        return table

    def warn_unknown_columns(self, table: Table) -> None:
        """A name without a column may be misspelt: then the column that it should hide is in the log."""
        if table.version in self.checked_versions:
            return
        self.checked_versions.add(table.version)
        columns = [name for name in table.columns if "." in name]
        known = {part for name in columns for part in (name, name.partition(".")[2])}
        unknown = sorted(name for name in {*self.excluded, *self.hashed} if name not in known)
        if unknown:
            log.warning(
                "prediction log: version %s has no column %s to exclude or hash; it has %s",
                table.version, ", ".join(unknown), ", ".join(columns),
            )  # fmt: skip

    def hashes(self, values: Array, type_name: str = "") -> Array:
        """Equal values get equal hashes: integers become floats in a table where one of them is missing."""
        hashes = np.empty(len(values), dtype=object)
        for i, value in enumerate(plain_values(values)):
            if type_name in INTEGER_TYPES and isinstance(value, float) and value.is_integer():
                value = int(value)
            hashes[i] = None if value is None else self.digest(value)
        return hashes

    def digest(self, value: Any) -> str:
        """The hash of text as it is, of any other value as JSON text."""
        text = value if isinstance(value, (bytes, str)) else json_text(value)
        content = text if isinstance(text, bytes) else text.encode()
        if self.key is not None:
            return hmac.digest(self.key, content, "sha256").hex()
        return hashlib.sha256(content).hexdigest()


def plain_values(values: Array) -> list[Any]:
    """Python values; None for missing ones."""
    cells: list[Any] = results.json_array(values) if values.dtype.kind == "M" else values.tolist()
    return [None if is_null(cell) else cell for cell in cells]


def is_null(cell: Any) -> bool:
    return cell is None or is_missing(cell) or (isinstance(cell, float) and cell != cell)


def is_named(column: str, names: Collection[str]) -> bool:
    """Columns that every record has, such as `time`, are always written."""
    return "." in column and (column in names or column.partition(".")[2] in names)
