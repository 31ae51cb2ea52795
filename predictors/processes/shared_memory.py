"""Memory that a process shares with those that are forked from it."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any, TypeVar, cast

T = TypeVar("T", bound="ctypes.Structure | ctypes.Array[Any]")

TEXT_BYTES = 1024


def in_shared_memory(kind: type[T]) -> T:
    """A structure or an array, all zeros; it must be made before the fork."""
    return cast("T", kind.from_buffer(mmap.mmap(-1, ctypes.sizeof(kind))))


class Text:
    """A short text in a structure, kept in the field `<name>_bytes`; what is too long is cut off."""

    field = ctypes.c_char * TEXT_BYTES

    def __set_name__(self, owner: type[ctypes.Structure], name: str) -> None:
        self.name = f"{name}_bytes"

    def __get__(self, structure: ctypes.Structure, owner: type[ctypes.Structure]) -> str:
        return bytes(getattr(structure, self.name)).decode(errors="ignore")

    def __set__(self, structure: ctypes.Structure, text: str) -> None:
        setattr(structure, self.name, text.encode()[: TEXT_BYTES - 1])
