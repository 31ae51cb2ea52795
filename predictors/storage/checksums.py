"""What the files of a model should be, and whether they still are: sizes and SHA-256, read in parallel."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

READERS = 8  # threads: disks and network volumes answer several questions at once
BLOCK = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sum:
    size: int
    sha256: str


def regular_files(folder: Path) -> Iterator[str]:
    """Every file below the folder, by its path relative to it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield str((Path(parent) / name).relative_to(folder))


def folder_size(folder: Path) -> tuple[int, int]:
    """Bytes and files; what vanishes meanwhile does not count, and what has two names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                found = (Path(parent) / name).lstat()
            except OSError:
                continue
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values()), len(seen)


def checksums(folder: Path) -> dict[str, Sum]:
    """The sums of all files, which are on the disk for good when this returns."""
    return dict(in_parallel(lambda name: (name, checksum(folder / name, keep=True)), sorted(regular_files(folder))))


def checksum(path: Path, *, keep: bool = False) -> Sum:
    made, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            made.update(block)
            size += len(block)
        if keep:
            os.fsync(file.fileno())
    return Sum(size, made.hexdigest())


def digest_of(files: Mapping[str, Sum]) -> str:
    """One for all: the same files under the same names give the same digest."""
    lines = "".join(f"{one.sha256} {one.size} {name}\n" for name, one in sorted(files.items()))
    return f"sha256:{hashlib.sha256(lines.encode('utf-8', 'surrogateescape')).hexdigest()}"


def differences(folder: Path, files: Mapping[str, Sum], *, full: bool = True) -> list[str]:
    """What is wrong with the files, one line each; without `full` only their sizes are looked at."""

    def look(name: str) -> str | None:
        path, expected = folder / name, files[name]
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                return f"{name} is not a file"
            if found.st_size != expected.size:
                return f"{name} has {found.st_size} bytes, not {expected.size}"
            if full and checksum(path).sha256 != expected.sha256:
                return f"{name} has another checksum"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        return None

    return [line for line in in_parallel(look, sorted(files)) if line]


def in_parallel(work: Callable[[str], T], names: list[str]) -> list[T]:
    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(work, names))
