"""Large JSON, parsed piece by piece: a parser holds the interpreter's lock until its text ends, and others wait.

A piece ends at a comma, wherever that is. It is made a JSON text of its own: the containers that are open where it
begins are opened before it, and those that are open where it ends are closed after it. Its values then go into the
containers that are open. The parser sees every byte, and the value is the one that it would make of the whole text.

Lists of numbers, or of rows of numbers, may be packed on the way: then only those of one piece are ever objects.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import orjson

from predictors.protocol.packed_rows import NotPackable, PackedRows

Container: TypeAlias = "list[Any] | dict[str, Any]"

MIN_PACKED = 256  # numbers, or so, that are packed at a time
PIECE = 128 * 1024  # bytes: a few milliseconds
QUOTE, COMMA = ord('"'), ord(",")
OPENING, CLOSING, KIND = ord("{"), ord("}"), 0x20  # the bit in which { and [, and } and ], differ
CLOSED_BY = {ord("["): b"]", ord("{"): b"}"}


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a piece, and what it means for the containers around it."""

    end: int
    kept: int = 0
    """How many of those that are open at the beginning of the piece stay open."""
    opened: bytes = b""
    """The brackets of those that it opens and leaves open."""


class Packing:
    """A list that is packed as it grows: it keeps the items that are yet to be packed."""

    def __init__(self, parent: dict[str, Any], key: str, items: list[Any]) -> None:
        self.parent = parent
        self.key = key
        self.items = items
        self.packed = PackedRows(items[0])

    def pack(self, count: int) -> None:
        self.packed.append(self.items[:count])
        del self.items[:count]

    def end(self) -> None:
        """Puts the rows in the place of the list, unless a key that came twice has taken it."""
        self.pack(len(self.items))
        self.packed.close()
        if self.parent.get(self.key) is self.items:
            self.parent[self.key] = self.packed

    def undo(self) -> None:
        if self.parent.get(self.key) is self.packed:
            self.parent[self.key] = self.items
        self.items[:0] = self.packed.tolist()


def parse_in_pieces(body: bytes, loads: Callable[[bytes], Any]) -> Any:
    """The value of a JSON text; `loads` parses a piece, and raises orjson's error."""
    return PieceReader(body, loads).read()


def parse_and_pack(body: bytes, loads: Callable[[bytes], Any]) -> tuple[Any, list[Packing]]:
    """Likewise, with long lists of numbers, or of rows of numbers, that are values of objects packed."""
    reader = PieceReader(body, loads, packs=True)
    return reader.read(), reader.packings


def cut_after(body: bytes, start: int, depth: int) -> Cut:
    """The end of the piece from `start`, where so many containers are open: its last comma, or the end of the text."""
    size = PIECE
    while start + size < len(body):
        text = body[start : start + size]
        characters = np.frombuffer(text, np.uint8)
        if b"\\" in text:  # an escaped quote ends no string
            text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        quotes = np.frombuffer(text, np.uint8) == QUOTE
        outside = (np.cumsum(quotes, dtype=np.uint8) & 1) == 0
        commas = np.flatnonzero((characters == COMMA) & outside)
        if len(commas):
            end = int(commas[-1])
            return Cut(start + end, *containers_at_end(characters[:end], outside[:end], depth))
        size *= 2  # it is within a long string
    return Cut(len(body))


def containers_at_end(characters: Any, outside: Any, depth: int) -> tuple[int, bytes]:
    """How many of the containers that are open before the text stay open, and the brackets that it leaves open."""
    if not len(characters):
        return depth, b""
    folded = characters | KIND
    opens, closes = (folded == OPENING) & outside, (folded == CLOSING) & outside
    depths = depth + np.cumsum(opens.view(np.int8) - closes.view(np.int8), dtype=np.int32)
    lowest_after = np.minimum.accumulate(depths[::-1])[::-1]
    return max(0, min(depth, int(lowest_after[0]))), characters[opens & (depths <= lowest_after)].tobytes()


class PieceReader:
    def __init__(self, body: bytes, loads: Callable[[bytes], Any], *, packs: bool = False) -> None:
        self.body = body
        self.loads = loads
        self.packs = packs
        self.packings: list[Packing] = []
        self.open_packings: list[Packing] = []
        self.unpackable: list[list[Any]] = []
        self.before, self.after = secrets.token_hex(8), secrets.token_hex(8)
        """Stand before and after the text of a piece; no text of the body is taken for them."""
        self.kinds = b""
        """The brackets of the containers that are open, and the containers."""
        self.open: list[Any] = []

    def read(self) -> Any:
        start, cut = 0, cut_after(self.body, 0, 0)
        value = self.read_piece(start, cut)
        while cut.end < len(self.body):
            start = cut.end + 1
            cut = cut_after(self.body, start, len(self.kinds))
            self.read_piece(start, cut)
        return value

    def read_piece(self, start: int, cut: Cut) -> Any:
        """Parses a piece, and puts its values into the containers that are open."""
        first, is_last = max(cut.kept, 1), cut.end == len(self.body)
        left_open = self.kinds[first - 1 : cut.kept] + cut.opened
        prefix, suffix = self.prefix(self.kinds[first - 1 :]), b"" if is_last else self.suffix(left_open)
        try:
            value = self.loads(b"".join((prefix, self.body[start : cut.end], suffix)))
        except orjson.JSONDecodeError as error:
            raise self.located(error, start, len(prefix)) from None
        path = [] if is_last else self.path_to_end(value, len(left_open)) or []
        self.merge(value, self.open[first - 1 :])
        self.open = [*self.open[: cut.kept], *path[min(cut.kept, 1) :]]
        self.kinds = self.kinds[: cut.kept] + cut.opened
        if self.packs:
            self.pack()
        return value

    def pack(self) -> None:
        """Packs what is complete of the lists that are open, and ends those that are not open any more."""
        for packing in self.open_packings:
            if not is_in(self.open, packing.items):
                self.attempt(packing, packing.end)
        self.open_packings = [one for one in self.packings if is_in(self.open, one.items)]
        for depth, (parent, items) in enumerate(pairwise(self.open), 2):
            if type(parent) is dict and type(items) is list:
                self.pack_items(parent, items, len(items) - (depth < len(self.open)))

    def pack_items(self, parent: dict[str, Any], items: list[Any], count: int) -> None:
        """Packs so many items of a list that is the value of an object, if that has not failed before."""
        packing = next((one for one in self.open_packings if one.items is items), None)
        if packing is None:
            if not count or count * width_of(items[0]) < MIN_PACKED or is_in(self.unpackable, items):
                return
            try:
                packing = Packing(parent, next(key for key, value in parent.items() if value is items), items)
            except NotPackable:
                self.unpackable.append(items)
                return
            self.packings.append(packing)
            self.open_packings.append(packing)
        self.attempt(packing, lambda: packing.pack(count))

    def attempt(self, packing: Packing, work: Callable[[], None]) -> None:
        try:
            work()
        except NotPackable:
            packing.undo()
            self.unpackable.append(packing.items)
            self.packings.remove(packing)
            self.open_packings = [one for one in self.open_packings if one is not packing]

    def prefix(self, kinds: bytes) -> bytes:
        """Opens containers, each as the first item of the one before; something must follow."""
        key = b'"%b":' % self.before.encode()
        opening = b"".join(b"[" if CLOSED_BY[kind] == b"]" else b"{" + key for kind in kinds)
        return opening + (b'"%b",' % self.before.encode() if kinds else b"")

    def suffix(self, kinds: bytes) -> bytes:
        """Closes containers; something must be before it. Without any, the comma is one too many."""
        if not kinds:
            return b","
        mark = b',"%b"' % self.after.encode() + (b":0" if CLOSED_BY[kinds[-1]] == b"}" else b"")
        return mark + b"".join(CLOSED_BY[kind] for kind in reversed(kinds))

    def path_to_end(self, value: Any, depth: int) -> list[Container] | None:
        """The containers around the mark at the end of a piece, which is removed; the innermost is the last."""
        if depth == 1:
            if isinstance(value, dict):
                return [value] if value.pop(self.after, None) is not None else None
            if isinstance(value, list) and value and value[-1] == self.after:
                del value[-1]
                return [value]
            return None
        inner = reversed(value.values()) if isinstance(value, dict) else value[-1:] if isinstance(value, list) else ()
        for item in inner:
            if (path := self.path_to_end(item, depth - 1)) is not None:
                return [value, *path]
        return None

    def merge(self, value: Any, containers: list[Any]) -> None:
        """Puts the items of a piece into the containers that it continues, each of which is the first in the other."""
        for container in containers:
            if isinstance(container, dict):
                value, items = value.pop(self.before), value
                container.update(items)
            else:
                value, items = value[0], value
                container += items[1:]

    def located(self, error: orjson.JSONDecodeError, start: int, prefix: int) -> orjson.JSONDecodeError:
        """The error with its place in the whole text."""
        if not error.doc:  # the piece is not UTF-8
            return error
        before = len(self.body[:start].decode(errors="replace"))
        return orjson.JSONDecodeError(error.msg, self.body.decode(errors="replace"), before + error.pos - prefix)


def is_in(containers: list[Any], container: Any) -> bool:
    """Whether it is one of them, not only equal to one."""
    return any(one is container for one in containers)


def width_of(item: Any) -> int:
    return len(item) if isinstance(item, (list, dict)) else 1
