"""Thrift's compact protocol, in which the headers of Parquet files are written, as far as checking them needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(14)
WIDTHS = {BYTE: 1, DOUBLE: 8, UUID: 16}
BITS = {I32: 32, I64: 64}
MAX_DEPTH = 16  # of structures and lists in one another
MAX_READ = 2**20  # fields and elements

Path: TypeAlias = "tuple[int, ...]"
"""The numbers of the fields that lead to a value."""


class BrokenThrift(ValueError):
    """What should be a structure is none, or one that no program would write."""


class ThriftReader:
    """Reads the structures in a part of a body. `lists` are the types in known lists, by path: other readers rely on
    them and not on what a list says of itself."""

    def __init__(self, body: bytes, position: int, end: int, lists: Mapping[Path, int] | None = None) -> None:
        self.body = body
        self.position = position
        self.end = end
        self.lists = lists or {}
        self.left = MAX_READ

    def advance(self, count: int) -> None:
        self.position += count
        if self.position > self.end:
            raise BrokenThrift

    def byte(self) -> int:
        self.advance(1)
        return self.body[self.position - 1]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BrokenThrift

    def signed(self, bits: int) -> int:
        value = self.varint()
        return wrapped((value >> 1) ^ -(value & 1), bits)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of the fields of a structure; the caller reads or skips each value."""
        number, numbers = 0, set[int]()
        while kind := (head := self.byte()) & 0x0F:
            number = wrapped(number + (head >> 4), 16) if head >> 4 else self.signed(16)
            if number in numbers:  # other readers may take the first, the last or both
                raise BrokenThrift
            numbers.add(number)
            self.count()
            yield number, kind

    def structure(self, path: Path = ()) -> dict[tuple[int, int], Any]:
        """Integers, structures and the lengths of texts, by number and type of the field."""
        values: dict[tuple[int, int], Any] = {}
        for number, kind in self.fields():
            if kind in BITS:
                values[number, kind] = self.signed(BITS[kind])
            elif kind == STRUCT:
                check_depth(path)
                values[number, kind] = self.structure((*path, number))
            elif kind == BINARY:
                values[number, kind] = self.skip_binary()
            else:
                self.skip(kind, (*path, number))
        return values

    def elements(self, path: Path) -> tuple[int, int]:
        """Number and type of the elements of a list."""
        head = self.byte()
        kind = head & 0x0F
        if self.lists.get(path, kind) != kind:
            raise BrokenThrift
        return head >> 4 if head >> 4 != 15 else self.varint(), kind

    def skip(self, kind: int, path: Path, in_list: bool = False) -> None:
        check_depth(path)
        if kind in (I16, I32, I64):
            self.varint()
        elif kind in WIDTHS:
            self.advance(WIDTHS[kind])
        elif kind in (TRUE, FALSE):
            self.advance(in_list)  # in a structure the type is the value
        elif kind == BINARY:
            self.skip_binary()
        elif kind in (LIST, SET):
            count, kind = self.elements(path)
            self.skip_all((kind,), count, path)
        elif kind == MAP:
            count = self.varint()
            kinds = self.byte() if count else 0
            self.skip_all((kinds >> 4, kinds & 0x0F), count, (*path, 0))
        elif kind == STRUCT:
            for number, inner in self.fields():
                self.skip(inner, (*path, number))
        else:
            raise BrokenThrift

    def skip_all(self, kinds: tuple[int, ...], count: int, path: Path) -> None:
        for _ in range(count):
            self.count()
            for kind in kinds:
                self.skip(kind, path, in_list=True)

    def skip_binary(self) -> int:
        length = self.varint()
        self.advance(length)
        return length

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise BrokenThrift


def check_depth(path: Path) -> None:
    if len(path) > MAX_DEPTH:
        raise BrokenThrift


def wrapped(number: int, bits: int) -> int:
    """The number as an integer of so many bits."""
    half = 1 << (bits - 1)
    return ((number + half) & ((1 << bits) - 1)) - half
