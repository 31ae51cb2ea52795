"""A zip archive with two directories: Python's zipfile reads the last one, torch the one that the end record names."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping


def two_faced(for_zipfile: Mapping[str, bytes], for_torch: Mapping[str, bytes]) -> bytes:
    """Both need the same names, so that both directories have the same length."""
    hidden, hidden_directory = packed(for_torch, 0, 0)
    shown_size = len(packed(for_zipfile, 0, 0)[0])
    hidden += bytes(shown_size)  # zipfile adds what lies behind the first directory to offsets, which are not negative
    start = len(hidden) + len(hidden_directory)
    shown, shown_directory = packed(for_zipfile, start, surplus=len(hidden_directory) + shown_size)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *(2 * [len(for_torch)]), len(hidden_directory), len(hidden), 0)
    return hidden + hidden_directory + shown + shown_directory + end


def packed(records: Mapping[str, bytes], start: int, surplus: int) -> tuple[bytes, bytes]:
    """The records and their directory."""
    body, directory = b"", b""
    for name, content in records.items():
        sizes = (len(content), len(content), len(name), 0)
        common = struct.pack("<5H3L2H", 20, 0, 0, 0, 0x21, zlib.crc32(content), *sizes)
        at = start + len(body) - surplus
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, at) + name.encode()
        body += b"PK\3\4" + common + name.encode() + content
    return body, directory
