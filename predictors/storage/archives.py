"""Unpacks model archives: nothing lands outside of the folder, and no more than the limit allows."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from predictors.storage.failures import UnsafeArchive, VolumeError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 1_000_000
MAX_NAME_SIZE = 1 << 20  # bytes of a member's extended header in a tar file, which is read into memory
EXTENDED_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
# Python inflates members of other methods without a limit on memory.
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
CONTROL_CHARACTER = re.compile(r"[\x01-\x1f\x7f]")
GZIP_MARK = b"\x1f\x8b"
TOP = PurePosixPath()


def is_archive(path: Path) -> bool:
    """Judged by its name: a .pt or a .skops file is a zip file, too."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


@dataclass(slots=True)
class Allowance:
    """Limits of one archive, and how much of them is used."""

    name: str
    max_bytes: int
    free: int
    members: int = 0
    used: int = 0

    def add(self, size: int) -> None:
        if size < 0:
            raise UnsafeArchive(f"{self.name} holds a file with a negative size")
        self.members += 1
        self.used += size
        if self.members > MAX_MEMBERS:
            raise UnsafeArchive(f"{self.name} holds more than {MAX_MEMBERS} files")
        if self.used > self.max_bytes:
            raise UnsafeArchive(f"{self.name} unpacks to more than {self.max_bytes} bytes (MAX_UNPACKED_SIZE)")
        if self.used > self.free:
            raise VolumeError(f"{self.name} unpacks to more than the {self.free} bytes that are free on the volume")


class BoundedHeader(tarfile.TarInfo):
    """The header of a member, whose size is checked before tarfile reads or skips that much."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in EXTENDED_HEADERS and header.size > MAX_NAME_SIZE):
            raise UnsafeArchive(f"a header of the archive claims {header.size} bytes")
        return header


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Raises UnsafeArchive with the name of the offending member."""
    allowance = Allowance(archive.name, max_bytes, shutil.disk_usage(folder).free)
    try:
        if archive.name.lower().endswith(".zip"):
            unpack_zip(archive, folder, allowance)
        else:
            unpack_tar(archive, folder, allowance)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise UnsafeArchive(f"{archive.name} cannot be read as an archive: {type(error).__name__}: {error}") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UnsafeArchive(f"{archive.name}: {Path(error.filename).name!r} is both a file and a folder") from error
    except RuntimeError as error:  # zipfile: the archive is encrypted
        raise UnsafeArchive(f"{archive.name}: {error}") from error


def unpack_zip(archive: Path, folder: Path, allowance: Allowance) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeArchive(f"{allowance.name}: {member.filename!r} is a link or a device")
            if member.compress_type not in ZIP_METHODS:
                raise UnsafeArchive(f"{allowance.name}: {member.filename!r} is not compressed with deflate")
            target = folder / path_inside(member.filename, allowance.name)
            allowance.add(member.file_size)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                with packed.open(member) as file:
                    write(file, target)


def unpack_tar(archive: Path, folder: Path, allowance: Allowance) -> None:
    with archive.open("rb") as file:
        gzipped = file.read(len(GZIP_MARK)) == GZIP_MARK
    with tarfile.open(archive, "r:gz" if gzipped else "r:", tarinfo=BoundedHeader) as packed:
        links: dict[PurePosixPath, PurePosixPath] = {}
        for member in packed:
            name = path_inside(member.name, allowance.name)
            allowance.add(member.size)
            if member.isdir():
                (folder / name).mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                write(cast(IO[bytes], packed.extractfile(member)), folder / name)
            elif member.issym() or member.islnk():
                start = TOP if member.islnk() else name.parent
                links[name] = path_inside(member.linkname, allowance.name, start, member.name)
            else:
                raise UnsafeArchive(f"{allowance.name}: {member.name!r} is a device or a pipe")
        for name in links:
            copy_link_target(folder, name, links, allowance)


def copy_link_target(
    folder: Path, name: PurePosixPath, links: dict[PurePosixPath, PurePosixPath], allowance: Allowance
) -> None:
    """Replaces a link by a copy of its target: the unpacked tree holds only files and folders."""
    seen, target = {name}, links[name]
    while target in links and target not in seen:
        seen.add(target)
        target = links[target]
    links.update(dict.fromkeys(seen, target))  # a long chain is followed once
    path = folder / target
    if not path.is_file():
        raise UnsafeArchive(f"{allowance.name}: the link {str(name)!r} does not lead to a file in the archive")
    allowance.add(path.stat().st_size)
    with path.open("rb") as file:
        write(file, folder / name)


def path_inside(name: str, archive: str, start: PurePosixPath = TOP, link: str | None = None) -> PurePosixPath:
    """A member's path below the folder, or that of a link's target; refused if it leads outside."""
    if CONTROL_CHARACTER.search(name):
        raise UnsafeArchive(f"{archive}: the name {name!r} holds a control character")
    path = PurePosixPath(name)
    parts: list[str] = list(start.parts)
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif link is None or not parts:
            break
        else:
            parts.pop()
    else:
        if not path.is_absolute() and "\\" not in name and "\0" not in name:
            return PurePosixPath(*parts)
    subject = f"the link {link!r} leads to {name!r}, which" if link is not None else repr(name)
    raise UnsafeArchive(f"{archive}: {subject} is outside of the archive")


def write(file: IO[bytes], target: Path) -> None:
    """Replaces an existing file or link: writing through a link could change a file elsewhere."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    with target.open("xb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)


def links_of(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if (Path(parent) / name).is_symlink():
                yield Path(parent) / name


def replace_links(folder: Path) -> None:
    """Replaces links inside a downloaded tree by copies, and refuses those that lead outside."""
    for link in list(links_of(folder)):
        target = link.resolve()
        if not target.is_relative_to(folder.resolve()) or not target.is_file():
            raise UnsafeArchive(f"the link {str(link.relative_to(folder))!r} does not lead to a file of the model")
        link.unlink()
        shutil.copyfile(target, link)
