"""Packed models, unpacked so that nothing lands outside of the folder, and no more than is allowed."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from predictors.storage.failures import UnsafeArchive, VolumeError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 1_000_000
TOP = PurePosixPath()


def is_archive(path: Path) -> bool:
    """By its name, since a .pt or a .skops file is a zip file, too."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


@dataclass(slots=True)
class Allowance:
    """How much an archive may still unpack."""

    name: str
    most: int
    free: int
    members: int = 0
    used: int = 0

    def take(self, size: int) -> None:
        self.members += 1
        self.used += size
        if self.members > MAX_MEMBERS:
            raise UnsafeArchive(f"{self.name} holds more than {MAX_MEMBERS} files")
        if self.used > self.most:
            raise UnsafeArchive(f"{self.name} unpacks to more than {self.most} bytes (MAX_UNPACKED_SIZE)")
        if self.used > self.free:
            raise VolumeError(f"{self.name} unpacks to more than the {self.free} bytes that are free on the volume")


def unpack(archive: Path, folder: Path, most: int) -> None:
    """Raises Unsafe and names the member that is not as it should be."""
    allowance = Allowance(archive.name, most, shutil.disk_usage(folder).free)
    try:
        if archive.name.lower().endswith(".zip"):
            unpack_zip(archive, folder, allowance)
        else:
            unpack_tar(archive, folder, allowance)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise UnsafeArchive(
            f"{archive.name} is no archive that can be read: {type(error).__name__}: {error}"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UnsafeArchive(
            f"{archive.name}: {Path(error.filename).name!r} is both a file and a folder of it"
        ) from error
    except RuntimeError as error:  # of zipfile: encrypted
        raise UnsafeArchive(f"{archive.name}: {error}") from error


def unpack_zip(archive: Path, folder: Path, allowance: Allowance) -> None:
    with zipfile.ZipFile(archive) as packed:
        for one in packed.infolist():
            kind = stat.S_IFMT(one.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeArchive(f"{allowance.name}: {one.filename!r} is a link or a device")
            target = folder / inside(one.filename, allowance.name)
            allowance.take(one.file_size)
            if one.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                with packed.open(one) as file:
                    write(file, target)


def unpack_tar(archive: Path, folder: Path, allowance: Allowance) -> None:
    with tarfile.open(archive, "r:*") as packed:
        links = []
        for one in packed:
            name = inside(one.name, allowance.name)
            allowance.take(one.size)
            if one.isdir():
                (folder / name).mkdir(parents=True, exist_ok=True)
            elif one.isreg():
                write(cast(IO[bytes], packed.extractfile(one)), folder / name)
            elif one.issym() or one.islnk():
                start = TOP if one.islnk() else name.parent
                links.append((name, inside(one.linkname, allowance.name, start, one.name)))
            else:
                raise UnsafeArchive(f"{allowance.name}: {one.name!r} is a device or a pipe")
        for name, leads_to in links:
            follow(folder, name, leads_to, dict(links), allowance)


def follow(
    folder: Path,
    name: PurePosixPath,
    leads_to: PurePosixPath,
    links: dict[PurePosixPath, PurePosixPath],
    allowance: Allowance,
) -> None:
    """A link becomes a copy of the file that it leads to: the tree holds files and folders alone."""
    seen = {name}
    while leads_to in links and leads_to not in seen:
        seen.add(leads_to)
        leads_to = links[leads_to]
    target = folder / leads_to
    if not target.is_file():
        raise UnsafeArchive(f"{allowance.name}: the link {str(name)!r} leads to no file of the archive")
    allowance.take(target.stat().st_size)
    with target.open("rb") as file:
        write(file, folder / name)


def inside(name: str, archive: str, start: PurePosixPath = TOP, link: str | None = None) -> PurePosixPath:
    """The path below the folder that a name in an archive stands for."""
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
    what = f"the link {link!r} leads to {name!r}" if link is not None else repr(name)
    raise UnsafeArchive(f"{archive}: {what}, which is outside of the archive")


def write(file: IO[bytes], target: Path) -> None:
    """What is there already under the name is replaced, never written through."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    with target.open("xb") as made:
        shutil.copyfileobj(file, made, 1 << 20)


def links_of(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if (Path(parent) / name).is_symlink():
                yield Path(parent) / name


def without_links(folder: Path) -> None:
    """A downloaded tree holds files and folders alone, too: links inside of it become copies, others are refused."""
    for link in list(links_of(folder)):
        target = link.resolve()
        if not target.is_relative_to(folder.resolve()) or not target.is_file():
            raise UnsafeArchive(f"the link {link.relative_to(folder)} leads to no file of the model")
        link.unlink()
        shutil.copyfile(target, link)
