"""CSV files: their shape is checked first, since a short file can ask for a large table."""

from __future__ import annotations

import io
import re
from typing import Any

from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput
from predictors.protocol.tables import ANY, TableColumns, batch_of_frame, is_sparse

# The cells that stand for a missing number.
NULL_CELLS = ["", "NaN", "nan", "NA", "N/A", "n/a", "<NA>", "NULL", "null", "None"]
MAX_SPARSITY = 4  # values that are absent for each that is there, which may be no more than a comma
BOM = b"\xef\xbb\xbf"
# As pandas has it: quotes count only where a cell begins, and may hold commas and newlines.
CELL = rb'(?:"(?:[^"]++|"")*+"?+)?+[^,\r\n]*+'
CELL_AND_COMMA = re.compile(CELL + rb"(,?+)")
LINE = re.compile(rb"(?:" + CELL + rb",)*+" + CELL + rb"(?:\r\n|\r|\n|\Z)")
BLANK_LINES = re.compile(rb"(?:[ \t]*+[\r\n])*+(?:[ \t]*+\Z)?+")


def decode_csv(body: bytes, columns: TableColumns = ANY) -> Batch:
    import pandas as pd

    check_shape(body, columns)
    # pandas reads "NA" and "None" as missing; in a text column only an empty cell is missing.
    texts: dict[str, Any] = {"dtype": dict.fromkeys(columns.texts, "object")}
    try:
        names = pd.read_csv(io.BytesIO(body), nrows=1, encoding="utf-8", dtype="object").columns
        wanted = {*columns.select([str(name) for name in names])}
        read = names if len(wanted) == len(names) else [name for name in names if str(name) in wanted]
        if columns.texts:
            texts |= {
                "na_values": {name: [""] if name in columns.texts else NULL_CELLS for name in read},
                "keep_default_na": False,
            }
        # The default parser of numbers is sometimes off by one unit in the last place.
        usecols = None if read is names else read
        frame = pd.read_csv(io.BytesIO(body), encoding="utf-8", float_precision="round_trip", usecols=usecols, **texts)
    except UnicodeDecodeError:
        raise InvalidInput("the CSV is not UTF-8") from None
    except (ValueError, OverflowError):  # pandas' parser errors are ValueErrors
        raise InvalidInput("the body cannot be read as CSV with a header line") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas then uses the first values as row labels
        raise InvalidInput("the CSV has rows with more values than its header has names")
    return batch_of_frame(frame, "CSV", columns.ignored)


def check_shape(body: bytes, columns: TableColumns) -> None:
    """Refuses a table that is much larger than its text."""
    begin = end_of(BLANK_LINES.match(body, len(BOM) if body.startswith(BOM) else 0))
    if begin == len(body):
        raise InvalidInput("the body cannot be read as CSV with a header line")
    names, end = cells_of_line(body, begin, columns)
    start = end_of(BLANK_LINES.match(body, end))
    if start == len(body):
        raise InvalidInput("the CSV has no rows")
    if cells_of_line(body, start, columns)[0] > names:
        raise InvalidInput("the CSV has rows with more values than its header has names")
    commas = body.count(b",", start)
    lines = body.count(b"\n", start) + body.count(b"\r", start) - body.count(b"\r\n", start) + 1
    if is_sparse(lines, names, commas + lines, MAX_SPARSITY) and b'"' in body:  # there may be newlines in cells
        lines = sum(bool(line[0]) for line in LINE.finditer(body, start))
    if is_sparse(lines, names, commas + lines, MAX_SPARSITY):
        raise InvalidInput(f"the CSV has {names} columns, and most of its {lines} rows have fewer values")


def cells_of_line(body: bytes, start: int, columns: TableColumns) -> tuple[int, int]:
    """The number of cells in the line that starts there, and its end."""
    cells, cell = 1, CELL_AND_COMMA.match(body, start)
    while cell is not None and cell[1]:
        cells, cell = cells + 1, CELL_AND_COMMA.match(body, cell.end())
        columns.check_number(cells, "CSV")
    return cells, end_of(cell)


def end_of(match: re.Match[bytes] | None) -> int:
    """Of a pattern that matches everywhere."""
    return -1 if match is None else match.end()
