"""Columns that are not to be written, and those of which only a hash is."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Collection
from typing import Any

import numpy as np

from predictors.prediction_log.table import JSON, Table, text
from predictors.protocol import results
from predictors.protocol.casting import Array

log = logging.getLogger("predictors")

WHOLE = ("integer", "long")


class Privacy:
    """Names are those of columns, with what stands before their dot (`input.age`) or without (`age`)."""

    def __init__(self, excluded: Collection[str], hashed: Collection[str], key: bytes | None = None) -> None:
        self.excluded = excluded
        self.hashed = hashed
        self.key = key
        self.looked: set[str] = set()
        """Versions of which it is known whether they have the columns that are named."""

    def applied(self, table: Table) -> Table:
        if not self.excluded and not self.hashed:
            return table
        self.look(table)
        columns = {}
        for name, values in table.columns.items():
            hashed = named(name, self.hashed)
            unknown = table.types.get(name) == JSON and not hashed  # it may hold what nobody should see
            if not named(name, self.excluded) and not unknown:
                columns[name] = self.hash_of(values, table.types.get(name, "")) if hashed else values
                if hashed:
                    table.types[name] = "string"
        table.columns = columns
        return table

    def look(self, table: Table) -> None:
        """A name that fits nothing may be misspelt, and what it was to hide is in the log."""
        if table.version in self.looked:
            return
        self.looked.add(table.version)
        columns = [name for name in table.columns if "." in name]
        known = {part for name in columns for part in (name, name.partition(".")[2])}
        unknown = sorted(name for name in {*self.excluded, *self.hashed} if name not in known)
        if unknown:
            log.warning(
                "prediction log: version %s has no column %s to exclude or hash; it has %s",
                table.version, ", ".join(unknown), ", ".join(columns),
            )  # fmt: skip

    def hash_of(self, values: Array, type_name: str = "") -> Array:
        """Equal values of a column look alike: whole numbers are decimals in a table that lacks one of them."""
        made = np.empty(len(values), dtype=object)
        for i, value in enumerate(plain(values)):
            if type_name in WHOLE and isinstance(value, float) and value.is_integer():
                value = int(value)
            made[i] = None if value is None else self.digest(value)
        return made

    def digest(self, value: Any) -> str:
        """Of text as it is, of anything else as JSON writes it."""
        content = value if isinstance(value, bytes) else (value if isinstance(value, str) else text(value)).encode()
        if self.key is not None:
            return hmac.digest(self.key, content, "sha256").hex()
        return hashlib.sha256(content).hexdigest()


def plain(values: Array) -> list[Any]:
    """Plain values, and None for what is missing."""
    cells: list[Any] = results.json_array(values) if values.dtype.kind == "M" else values.tolist()
    return [None if is_missing(cell) else cell for cell in cells]


def is_missing(cell: Any) -> bool:
    return cell is None or results.is_missing(cell) or (isinstance(cell, float) and cell != cell)


def named(column: str, names: Collection[str]) -> bool:
    """What every record has is always written."""
    return "." in column and (column in names or column.partition(".")[2] in names)
