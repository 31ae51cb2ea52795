"""Small DataFrames as JSON in the place of records: KServe's LightGBM server takes `{"x": {"0": 1.5}}` for a row."""

from __future__ import annotations

from typing import Any


def with_frames_opened(rows: list[Any]) -> list[Any]:
    """The rows, with a record of plain cells for each row of a frame; rows that are no frames stay as they are."""
    if not is_frame(rows[0]):
        return rows
    opened: list[Any] = []
    for row in rows:
        if type(row) is not dict or not is_frame(row):
            return rows
        opened += [{name: cells[label] for name, cells in row.items()} for label in next(iter(row.values()))]
    return opened


def is_frame(record: dict[str, Any]) -> bool:
    """Whether all values are objects with the keys "0", "1", …"""
    first = next(iter(record.values()), None)
    if type(first) is not dict or not first or first.keys() != {str(label) for label in range(len(first))}:
        return False
    return all(type(cells) is dict and cells.keys() == first.keys() for cells in record.values())
