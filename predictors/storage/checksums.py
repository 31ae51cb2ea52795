"""Sizes and SHA-256 of a model's files, computed and compared in parallel."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

READERS = 8  # threads: disks and network volumes serve several reads at once
BLOCK_SIZE = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Checksum:
    size: int
    sha256: str


def regular_files(folder: Path) -> Iterator[str]:
    """The paths of all files below the folder, relative to it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield str((Path(parent) / name).relative_to(folder))


def folder_size(folder: Path) -> tuple[int, int]:
    """Bytes and files; a file that vanishes meanwhile does not count, one with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = (Path(parent) / name).lstat()
            except OSError:
                continue
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values()), len(seen)


def checksums(folder: Path) -> dict[str, Checksum]:
    """The checksums of all files, which are flushed to disk as well."""
    return dict(in_parallel(lambda name: (name, checksum(folder / name, sync=True)), sorted(regular_files(folder))))


def checksum(path: Path, *, sync: bool = False) -> Checksum:
    sha256, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_SIZE):
            sha256.update(block)
            size += len(block)
        if sync:
            os.fsync(file.fileno())
    return Checksum(size, sha256.hexdigest())


def digest_of(files: Mapping[str, Checksum]) -> str:
    """One digest for all files: the same content under the same names gives the same digest."""
    lines = "".join(f"{file.sha256} {file.size} {name}\n" for name, file in sorted(files.items()))
    return f"sha256:{hashlib.sha256(lines.encode('utf-8', 'surrogateescape')).hexdigest()}"


def differences(folder: Path, files: Mapping[str, Checksum], *, full: bool = True) -> list[str]:
    """How the files differ from their checksums, one line each; without `full` only sizes are compared."""

    def difference(name: str) -> str | None:
        path, expected = folder / name, files[name]
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return f"{name} is not a file"
            if status.st_size != expected.size:
                return f"{name} has {status.st_size} bytes, expected {expected.size}"
            if full and checksum(path).sha256 != expected.sha256:
                return f"{name} has a wrong checksum"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        return None

    return [line for line in in_parallel(difference, sorted(files)) if line]


def in_parallel(work: Callable[[str], T], names: list[str]) -> list[T]:
    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(work, names))
