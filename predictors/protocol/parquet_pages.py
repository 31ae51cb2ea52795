"""The pages of a column in a Parquet file, by their headers.

The footer says how much a column holds, but reading follows the pages, so only they tell what reading takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 16  # of structures in a header, which has three
DATA, DICTIONARY, DATA_V2 = 5, 7, 8  # fields of a header
DELTA_BYTE_ARRAY = 7
# The types of Thrift's compact protocol.
STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(14)
WIDTHS = {BYTE: 1, DOUBLE: 8, UUID: 16}


class BrokenPages(ValueError):
    """What should be the header of a page is none."""


@dataclass(frozen=True, slots=True)
class Page:
    size: int
    """Bytes, uncompressed."""
    values: int
    """Nulls and the leaves of lists included; 0 for a dictionary."""
    encoding: int
    is_dictionary: bool


def pages(body: bytes, start: int, size: int) -> Iterator[Page]:
    """The pages of one column chunk, which may hold anything."""
    position, end = start, start + size
    if start < 0 or size < 0 or end > len(body):
        raise BrokenPages
    while position < end:
        reader = Reader(body, position, end)
        try:
            header = reader.structure()
        except IndexError:
            raise BrokenPages from None
        stored, unpacked = header.get(3, -1), header.get(2, -1)
        if stored < 0 or unpacked < 0:
            raise BrokenPages
        position = reader.position + stored
        data, dictionary = header.get(DATA) or header.get(DATA_V2), header.get(DICTIONARY)
        if data is not None:
            encoding = data.get(2 if DATA in header else 4, 0)
            yield Page(unpacked, max(0, data.get(1, 0)), encoding, False)
        elif dictionary is not None:
            yield Page(unpacked, 0, dictionary.get(2, 0), True)


class Reader:
    """Reads structures of Thrift's compact protocol; IndexError where they do not end."""

    def __init__(self, body: bytes, position: int, end: int) -> None:
        self.body = body
        self.position = position
        self.end = end

    def byte(self) -> int:
        if self.position >= self.end:
            raise IndexError
        self.position += 1
        return self.body[self.position - 1]

    def varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise IndexError

    def signed(self, bits: int) -> int:
        value = self.varint()
        number = ((value >> 1) ^ -(value & 1)) & ((1 << bits) - 1)
        return number - (1 << bits) if number >> (bits - 1) else number

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """Numbers of 32 bits and structures, by field; the others are skipped."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self.byte()) != STOP:
            kind = head & 0x0F
            number = number + (head >> 4) if head >> 4 else self.signed(16)
            if kind == I32:
                fields[number] = self.signed(32)
            elif kind == STRUCT and depth < MAX_DEPTH:
                fields[number] = self.structure(depth + 1)
            elif kind not in (TRUE, FALSE):  # whose value is their type
                self.skip(kind, depth)
        return fields

    def skip(self, kind: int, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise IndexError
        if kind in (I16, I32, I64):
            self.varint()
        elif kind in WIDTHS:
            self.position += WIDTHS[kind]
        elif kind in (TRUE, FALSE):
            self.position += 1  # in lists and maps
        elif kind == BINARY:
            length = self.varint()
            self.position += length
        elif kind in (LIST, SET):
            head = self.byte()
            count = head >> 4 if head >> 4 != 15 else self.varint()
            self.skip_all((head & 0x0F,), count, depth)
        elif kind == MAP:
            count = self.varint()
            types = self.byte() if count else 0
            self.skip_all((types >> 4, types & 0x0F), count, depth)
        elif kind == STRUCT:
            self.structure(depth + 1)
        else:
            raise IndexError

    def skip_all(self, kinds: tuple[int, ...], count: int, depth: int) -> None:
        for _ in range(count):
            for kind in kinds:
                self.skip(kind, depth + 1)
                if self.position > self.end:
                    raise IndexError
