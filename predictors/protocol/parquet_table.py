"""Parquet files: how much memory a file takes once it is read is known before it is read.

A file of some kilobytes can hold gigabytes, as one value that is repeated takes no room in it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from predictors.protocol.batch import Batch
from predictors.protocol.errors import InvalidInput, RequestError, TooLarge, UnsupportedMediaType
from predictors.protocol.parquet_layout import DELTA_BYTE_ARRAY, Chunk, Footer, Leaf, pages, read_footer
from predictors.protocol.tables import ANY, TableColumns, batch_of_frame

MAX_PAGES = 20_000
CELL = 8  # bytes of a value at least
LITTLE = 2**20  # bytes of texts that are not worth measuring


@dataclass(slots=True)
class ColumnSize:
    """The memory that a column takes, in bytes."""

    stored: int = 0
    """As its pages have it: each text of a dictionary once."""
    unfolded: int = 0
    """With its texts in each of their rows; no less, but possibly more than it is."""
    is_measurable: bool = True
    """Whether its texts can be read without being unfolded."""


def decode_parquet(body: bytes, columns: TableColumns = ANY) -> Batch:
    import pandas as pd
    from pyarrow.parquet import read_schema

    try:
        wanted = list(columns.select(names_of(read_schema(io.BytesIO(body)))))
        frame = pd.read_parquet(io.BytesIO(body), columns=wanted if columns.ignored else None)
    except (RequestError, MemoryError):
        raise
    except Exception:  # reading a broken file raises all kinds
        raise InvalidInput("the body cannot be read as Parquet") from None
    return batch_of_frame(frame, "Parquet", columns.ignored)


def unfolded_size(body: bytes, columns: TableColumns, most: int) -> int:
    """The bytes that reading takes; refuses a file that takes more than `most`, or whose columns do not fit."""
    try:
        from pyarrow import BufferReader
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UnsupportedMediaType("Parquet needs pyarrow on the server: install mlflow-kserve[parquet]") from None
    try:
        # pyarrow's own view of the footer is not used: it ends the process where a part of it is broken.
        footer = read_footer(body, columns.most)
        file = ParquetFile(BufferReader(body))
        names = names_of(file.schema_arrow)
        places: Sequence[int] = range(len(footer.leaves))
        if left_out := {*names} - {*columns.select(names)}:
            places = [i for i in places if left_out.isdisjoint(prefixes(file.schema.column(i).path))]
        sizes = column_sizes(body, footer, most, places)
        folded = {i for i, one in enumerate(sizes) if one.is_measurable and one.unfolded > max(one.stored, LITTLE)}
        size = sum(one.stored if i in folded else one.unfolded for i, one in enumerate(sizes))
        check_size(size, most)
        if folded:
            paths = [file.schema.column(places[i]).path for i in folded]
            file = ParquetFile(BufferReader(body), read_dictionary=paths)
            for group in range(len(footer.groups)):
                table = file.read_row_group(group, columns=paths, use_threads=False)
                size += sum(texts_size(chunk) for column in table.columns for chunk in column.chunks)
                check_size(size, most)
    except (RequestError, MemoryError):
        raise
    except Exception:  # reading a broken file raises all kinds
        raise InvalidInput("the body cannot be read as Parquet") from None
    return size


def names_of(schema: Any) -> list[str]:
    """The columns of the table that pandas makes: it has the index in a file of its own as such."""
    index = [name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]
    return [name for name in schema.names if name not in index]


def prefixes(path: str) -> Iterator[str]:
    """The names that the column of a leaf may have: a name may itself hold dots."""
    position = -1
    while (position := path.find(".", position + 1)) >= 0:
        yield path[:position]
    yield path


def column_sizes(body: bytes, footer: Footer, most: int, places: Sequence[int]) -> list[ColumnSize]:
    """Of the leaves in these places, which are those that are read; a list or a structure has several."""
    check_size(footer.rows * len(places) * CELL, most)
    sizes = [ColumnSize() for _ in places]
    left = MAX_PAGES
    for rows, chunks in footer.groups:
        for column, place in zip(sizes, places, strict=True):
            left = add_chunk(column, body, chunks[place], footer.leaves[place], rows, left)
        check_size(sum(size.stored for size in sizes), most)
    return sizes


def add_chunk(column: ColumnSize, body: bytes, chunk: Chunk, leaf: Leaf, rows: int, left: int) -> int:
    """Adds what one row group has of a column; returns how many pages there may still be."""
    size = counted = longest = 0
    left -= 1
    for page in pages(body, chunk.start, chunk.size):
        left -= 1
        if left < 0:
            raise InvalidInput(f"the Parquet has more than {MAX_PAGES} pages: write it with larger ones")
        size, counted = size + page.size, counted + page.values
        if page.is_dictionary:
            longest = max(longest, page.size)
        elif leaf.is_text and page.encoding == DELTA_BYTE_ARRAY:  # a text may repeat the one before it
            column.is_measurable = False
            longest = max(longest, page.size)
    values = max(rows, counted, chunk.values)
    stored = max(size, values * (CELL if leaf.is_text else max(CELL, leaf.width)))
    column.stored += stored
    column.unfolded += stored + values * longest if leaf.is_text else stored
    return left


def texts_size(values: Any) -> int:
    """Bytes of the texts in an array at any depth, each counted wherever it stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        return texts_size(values.storage)
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(values.dictionary).take(values.indices)
        return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(texts_size(values.field(i)) for i in range(kind.num_fields))
    if pa.types.is_nested(kind):  # lists and maps
        return texts_size(values.values)
    return 0


def check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"the Parquet takes {size} bytes once it is read, more than {most} (--max-body)")
