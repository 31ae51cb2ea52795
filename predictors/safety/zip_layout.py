"""Opens zip archives that every program reads alike.

Python's zipfile expects the directory right before the end record, torch where the end record says it is. Names may
differ in case, or end at a NUL, for one of them alone. What was checked would then not be what is loaded.
"""

from __future__ import annotations

import struct
from typing import IO
from zipfile import BadZipFile, ZipFile

END, END64, LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
END_MARK, END64_MARK, LOCATOR_MARK = b"PK\5\6", b"PK\6\6", b"PK\6\7"
IN_END64 = (0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF)
"""Values of the end record that refer to the one of zip64, in its order: records, length and start of the directory."""


def open_strictly(file: IO[bytes]) -> ZipFile:
    """Raises BadZipFile if the archive could be read in two ways."""
    archive = ZipFile(file)
    records = archive.infolist()
    if not ends_agree(file, len(records)):
        raise BadZipFile("its directory is not where its end record says")
    if any(record.filename != record.orig_filename for record in records):
        raise BadZipFile("the name of a record is not plain")
    if len({record.filename.lower() for record in records}) < len(records):
        raise BadZipFile("several records have one name")
    return archive


def ends_agree(file: IO[bytes], records: int) -> bool:
    """Whether the end records lie at the end of the file, and agree on a directory that lies right before them."""
    size = file.seek(0, 2)
    tail_size = min(size, END64.size + LOCATOR.size + END.size)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    mark, _, _, _, *told, comment = END.unpack(tail[-END.size :])
    end, actual = size - END.size, told
    locator = tail[-END.size - LOCATOR.size : -END.size]
    if locator.startswith(LOCATOR_MARK):
        end = size - tail_size
        mark64, *_, listed, length, start = END64.unpack(tail[: END64.size])
        actual = [listed, length, start]
        if mark64 != END64_MARK or LOCATOR.unpack(locator)[2] != end:
            return False
    return (
        (mark, comment) == (END_MARK, 0)
        and all(value in pair for value, *pair in zip(told, actual, IN_END64, strict=True))
        and (actual[0], actual[1] + actual[2]) == (records, end)
    )
