"""Small DataFrames as JSON in the place of records, as KServe's LightGBM server takes them.

A row may be `{"x": {"0": 1.5}}`, `{"x": [1.5]}`, or a list of records; records that share no name are one row together.
"""

from __future__ import annotations

from typing import Any


def with_frames_opened(rows: list[Any]) -> list[Any]:
    """The rows, with a record of plain cells for each row of a frame; if one is no frame, they stay as they are."""
    opened: list[Any] = []
    for row in rows:
        records = records_of(row)
        if records is None:
            return rows
        opened += records
    return opened


def records_of(row: Any) -> list[dict[str, Any]] | None:
    if type(row) is list:
        return joined(row) if row and all(type(part) is dict for part in row) else None
    if type(row) is not dict or not row:
        return None
    first = next(iter(row.values()))
    if type(first) is list:
        if not first or not all(type(cells) is list and len(cells) == len(first) for cells in row.values()):
            return None
        return [dict(zip(row, cells, strict=True)) for cells in zip(*row.values(), strict=True)]
    if not is_labelled(first) or not all(
        type(cells) is dict and cells.keys() == first.keys() for cells in row.values()
    ):
        return None
    return [{name: cells[label] for name, cells in row.items()} for label in first]


def is_labelled(cells: Any) -> bool:
    """Whether it is an object with the keys "0", "1", …"""
    return type(cells) is dict and bool(cells) and cells.keys() == {str(label) for label in range(len(cells))}


def joined(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records that share no name are the parts of one row."""
    row = {name: value for record in records for name, value in record.items()}
    return [row] if len(row) == sum(map(len, records)) else records
