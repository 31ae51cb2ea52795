"""Files that several processes read and write."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Writes the whole file or nothing: readers never see a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.rename(path)


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Holds the folder's lock of this name, which one process at a time can have."""
    with (folder / f".{name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
