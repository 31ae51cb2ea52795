"""The casts of MLflow's scoring server, as far as no value changes: "5" for a number, 5 for a text.

Values that stay as they are here are judged by the strict conversion, which has the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_DIGITS = 400  # characters of a number in a text


def coerced(cells: Sequence[Any], kind: str) -> list[Any]:
    """Cells of a column or a tensor, whose numpy kind is `kind`."""
    if kind in "iu":
        return [whole_number(cell) for cell in cells]
    if kind == "f":
        return [number(cell) for cell in cells]
    if kind == "M":
        return [moment(cell) for cell in cells]
    return [text(cell) for cell in cells] if kind in "OUS" else list(cells)


def whole_number(cell: Any) -> Any:
    if type(cell) is bool:
        return int(cell)
    return parsed(cell, int) if type(cell) is str else cell


def number(cell: Any) -> Any:
    if type(cell) is bool:
        return float(cell)
    return parsed(cell, float) if type(cell) is str else cell


def parsed(cell: str, kind: type[int] | type[float]) -> Any:
    if len(cell) > MAX_DIGITS or "_" in cell:  # Python's own notation
        return cell
    try:
        return kind(cell)
    except ValueError:
        return cell


def text(cell: Any) -> Any:
    """Numbers and booleans as numpy writes them."""
    return str(cell) if type(cell) in (int, float, bool) else cell


def moment(cell: Any) -> Any:
    """A number is in nanoseconds since the epoch, as pandas has it."""
    import pandas as pd

    if type(cell) is not int:
        return cell
    try:
        return pd.Timestamp(cell)
    except (OverflowError, ValueError):
        return cell
