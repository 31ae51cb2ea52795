"""The layout of a Parquet file, as the headers in it have it.

The library that reads the file relies on them: it recurses as deep as the schema, and takes as much memory as the
headers of the pages say, whatever the footer says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from predictors.protocol.errors import InvalidInput
from predictors.protocol.thrift import BINARY, I32, I64, LIST, STRUCT, BrokenThrift, ThriftReader

MAGIC = b"PAR1"
MAX_NESTING = 32  # of columns
MAX_NAMES = 2**24  # bytes of the names of all columns, each with the names of the columns that it is in
DELTA_BYTE_ARRAY = 7
BYTE_ARRAY, DECIMAL = 6, 5
# Fields, by number and type: of the file, a column of the schema, a row group, a column chunk and a page.
SCHEMA, ROWS, GROUPS, WRITER = (2, LIST), (3, I64), (4, LIST), (6, BINARY)
TYPE, WIDTH, NAME, CHILDREN, CONVERTED, LOGICAL = (1, I32), (2, I32), (4, BINARY), (5, I32), (6, I32), (10, STRUCT)
CHUNKS, GROUP_ROWS = (1, LIST), (3, I64)
COLUMN, COUNT, LENGTH, DATA_START, DICTIONARY_START = (3, STRUCT), (5, I64), (7, I64), (9, I64), (11, I64)
UNPACKED, STORED, DATA, DICTIONARY, DATA_V2 = (2, I32), (3, I32), (5, STRUCT), (7, STRUCT), (8, STRUCT)
VALUES, ENCODING, ENCODING_V2 = (1, I32), (2, I32), (4, I32)
CHUNK_PATH = (4, 1)
COLUMN_PATH = (*CHUNK_PATH, 3)
FOOTER_LISTS = {
    (2,): STRUCT, (4,): STRUCT, (5,): STRUCT, (7,): STRUCT, CHUNK_PATH: STRUCT, (4, 4): STRUCT,
    (*COLUMN_PATH, 2): I32, (*COLUMN_PATH, 3): BINARY, (*COLUMN_PATH, 8): STRUCT, (*COLUMN_PATH, 13): STRUCT,
    (*COLUMN_PATH, 16, 2): I64, (*COLUMN_PATH, 16, 3): I64, (*COLUMN_PATH, 17, 2): I32,
}  # fmt: skip
# The files of this library before 1.2.9 are read some bytes beyond the end of a column.
FIXED_WRITER = re.compile(rb"parquet-mr version (\d{1,4})\.(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column of the schema that holds values."""

    is_text: bool
    width: int
    """Bytes of each value, if all have the same."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a row group has of a column."""

    start: int
    size: int
    """Bytes, compressed."""
    values: int


@dataclass(slots=True)
class Footer:
    rows: int = 0
    leaves: list[Leaf] = field(default_factory=list)
    groups: list[tuple[int, list[Chunk]]] = field(default_factory=list)
    """Of each row group, its rows and a chunk for each leaf."""


@dataclass(frozen=True, slots=True)
class Page:
    size: int
    """Bytes, uncompressed."""
    values: int
    """Nulls and the leaves of lists included; 0 for a dictionary."""
    encoding: int
    is_dictionary: bool


def read_footer(body: bytes, most: int) -> Footer:
    """Refuses a schema of more than `most` columns, or one that nests them deeper than anybody would."""
    end = len(body) - len(MAGIC) - 4
    start = end - int.from_bytes(body[end : end + 4], "little")
    if start < len(MAGIC) or not body.endswith(MAGIC):
        raise BrokenThrift
    reader, footer = ThriftReader(body, start, end, FOOTER_LISTS), Footer()
    for number, kind in reader.fields():
        if (number, kind) == SCHEMA:
            footer.leaves = read_schema(reader, most)
        elif (number, kind) == ROWS:
            footer.rows = reader.signed(64)
        elif (number, kind) == GROUPS:
            count, _ = reader.elements((4,))
            footer.groups = [read_group(reader) for _ in range(count)]
        elif (number, kind) == WRITER:
            length = reader.skip_binary()
            check_writer(body[reader.position - length : reader.position].lower())
        else:
            reader.skip(kind, (number,))
    if footer.rows < 0 or any(rows < 0 or len(chunks) != len(footer.leaves) for rows, chunks in footer.groups):
        raise BrokenThrift
    return footer


def read_schema(reader: ThriftReader, most: int) -> list[Leaf]:
    count, _ = reader.elements((2,))
    if count > most + 1:  # the first is the table
        raise InvalidInput(f"the Parquet has more than {most} columns")
    leaves: list[Leaf] = []
    open_columns: list[list[int]] = []
    """Children still to come of each column that contains the next one, and the length of its name."""
    names = 0
    for index in range(count):
        element = reader.structure((2,))
        while open_columns and open_columns[-1][0] <= 0:
            open_columns.pop()
        if open_columns:
            open_columns[-1][0] -= 1
        open_columns.append([element.get(CHILDREN, 0), element.get(NAME, 0)])
        names += sum(length for _, length in open_columns)
        if len(open_columns) > MAX_NESTING or names > MAX_NAMES:
            raise InvalidInput("the Parquet has columns that are nested too deeply, or have too long names")
        if index and open_columns[-1][0] <= 0:
            leaves.append(leaf_of(element))
    return leaves


def leaf_of(element: dict[tuple[int, int], Any]) -> Leaf:
    is_decimal = element.get(CONVERTED) == DECIMAL or (DECIMAL, STRUCT) in element.get(LOGICAL, ())
    return Leaf(element.get(TYPE) == BYTE_ARRAY and not is_decimal, max(0, element.get(WIDTH, 0)))


def read_group(reader: ThriftReader) -> tuple[int, list[Chunk]]:
    rows, chunks = 0, list[Chunk]()
    for number, kind in reader.fields():
        if (number, kind) == CHUNKS:
            count, _ = reader.elements(CHUNK_PATH)
            chunks = [read_chunk(reader) for _ in range(count)]
        elif (number, kind) == GROUP_ROWS:
            rows = reader.signed(64)
        else:
            reader.skip(kind, (4, number))
    return rows, chunks


def read_chunk(reader: ThriftReader) -> Chunk:
    column = reader.structure(CHUNK_PATH).get(COLUMN, {})
    start, dictionary = column.get(DATA_START, 0), column.get(DICTIONARY_START, 0)
    return Chunk(dictionary if 0 < dictionary < start else start, column.get(LENGTH, 0), column.get(COUNT, 0))


def check_writer(writer: bytes) -> None:
    version = FIXED_WRITER.match(writer)
    if b"parquet-mr" in writer and (version is None or tuple(map(int, version.groups())) < (1, 2, 9)):
        raise BrokenThrift


def pages(body: bytes, start: int, size: int) -> Iterator[Page]:
    """The pages of one column chunk, which may hold anything."""
    position, end = start, start + size
    if start < 0 or size < 0 or end > len(body):
        raise BrokenThrift
    while position < end:
        reader = ThriftReader(body, position, end)
        header = reader.structure()
        stored, unpacked = header.get(STORED, -1), header.get(UNPACKED, -1)
        if stored < 0 or unpacked < 0:
            raise BrokenThrift
        position = reader.position + stored
        for kind, encoding in ((DATA, ENCODING), (DATA_V2, ENCODING_V2)):
            if kind in header:
                data = header[kind]
                yield Page(unpacked, max(0, data.get(VALUES, 0)), data.get(encoding, 0), False)
        if DICTIONARY in header:
            yield Page(unpacked, 0, 0, True)
