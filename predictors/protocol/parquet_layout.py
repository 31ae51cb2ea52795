"""The layout of a Parquet file, as the headers in it have it.

The library that reads the file relies on them: it recurses as deep as the schema, and takes as much memory as the
headers of the pages say, whatever the footer says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from predictors.protocol.errors import InvalidInput
from predictors.protocol.thrift import BINARY, I32, I64, LIST, STRUCT, BrokenThrift, ThriftReader

MAGIC = b"PAR1"
MAX_NESTING = 32  # of columns
MAX_NAMES = 2**24  # bytes of the names of all columns, each with the names of the columns that it is in
DELTA_BYTE_ARRAY = 7
# Fields, by number and type.
SCHEMA, NAME, CHILDREN = (2, LIST), (4, BINARY), (5, I32)
UNPACKED, STORED, DATA, DICTIONARY, DATA_V2 = (2, I32), (3, I32), (5, STRUCT), (7, STRUCT), (8, STRUCT)
VALUES, ENCODING, ENCODING_V2 = (1, I32), (2, I32), (4, I32)
COLUMN = (4, 1, 3)  # row groups, column chunks, their metadata
FOOTER_LISTS = {
    (2,): STRUCT, (4,): STRUCT, (5,): STRUCT, (7,): STRUCT, (4, 1): STRUCT, (4, 4): STRUCT,
    (*COLUMN, 2): I32, (*COLUMN, 3): BINARY, (*COLUMN, 8): STRUCT, (*COLUMN, 13): STRUCT,
    (*COLUMN, 16, 2): I64, (*COLUMN, 16, 3): I64, (*COLUMN, 17, 2): I32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Page:
    size: int
    """Bytes, uncompressed."""
    values: int
    """Nulls and the leaves of lists included; 0 for a dictionary."""
    encoding: int
    is_dictionary: bool


def check_footer(body: bytes, most: int) -> None:
    """Refuses a schema of more than `most` columns, or one that nests them deeper than anybody would."""
    end = len(body) - len(MAGIC) - 4
    start = end - int.from_bytes(body[end : end + 4], "little")
    if start < len(MAGIC) or not body.endswith(MAGIC):
        raise BrokenThrift
    reader = ThriftReader(body, start, end, FOOTER_LISTS)
    for number, kind in reader.fields():
        if (number, kind) == SCHEMA:
            check_schema(reader, most)
        else:
            reader.skip(kind, (number,))


def check_schema(reader: ThriftReader, most: int) -> None:
    count, _ = reader.elements((2,))
    if count > most + 1:  # the first is the table
        raise InvalidInput(f"the Parquet has more than {most} columns")
    open_columns: list[list[int]] = []
    """Children still to come of each column that contains the next one, and the length of its name."""
    names = 0
    for _ in range(count):
        element = reader.structure((2,))
        while open_columns and open_columns[-1][0] <= 0:
            open_columns.pop()
        if open_columns:
            open_columns[-1][0] -= 1
        open_columns.append([element.get(CHILDREN, 0), element.get(NAME, 0)])
        names += sum(length for _, length in open_columns)
        if len(open_columns) > MAX_NESTING or names > MAX_NAMES:
            raise InvalidInput("the Parquet has columns that are nested too deeply, or have too long names")


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
        for field, encoding in ((DATA, ENCODING), (DATA_V2, ENCODING_V2)):
            if field in header:
                data = header[field]
                yield Page(unpacked, max(0, data.get(VALUES, 0)), data.get(encoding, 0), False)
        if DICTIONARY in header:
            yield Page(unpacked, 0, 0, True)
