"""Stores for finished files: a local folder, or a store that pyarrow or fsspec supports."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from predictors.prediction_log.targets import ARROW_SCHEMES, LogTarget

PARTIAL = ".partial"
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "obs", "tos", "r2", "hf"}
"""Stores in which an object is not visible before it is complete."""
STALE_SECONDS = 600.0  # a partial file of this age is not being written any more


class FileStore(Protocol):
    def put(self, name: str, content: Any) -> None:
        """Writes a file that is complete or absent."""


class LocalFolder:
    """Writes files in a hidden folder, which readers skip, and renames them when they are complete."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.partial = self.folder / PARTIAL

    def put(self, name: str, content: Any) -> None:
        self.partial.mkdir(parents=True, exist_ok=True)
        self.remove_stale()
        target = self.folder / name
        partial = self.partial / target.name
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(target)
        except OSError:
            with suppress(OSError):  # the disk may have failed
                partial.unlink(missing_ok=True)
            raise

    def remove_stale(self) -> None:
        """Removes files of killed processes, but none that another process may still be writing."""
        for file in self.partial.iterdir():
            with suppress(OSError):  # another process may remove it as well
                if time.time() - file.stat().st_mtime > STALE_SECONDS:
                    file.unlink()


class RemoteStore:
    """Writes objects directly; other stores get a partial file, which is renamed when it is complete."""

    def __init__(self, target: LogTarget) -> None:
        self.renames = target.scheme not in OBJECT_STORES
        if target.scheme in ARROW_SCHEMES:
            from fsspec.implementations.arrow import ArrowFSWrapper
            from pyarrow.fs import FileSystem

            filesystem, self.root = FileSystem.from_uri(target.location)
            self.filesystem: Any = ArrowFSWrapper(filesystem)
        else:
            import fsspec

            self.filesystem, self.root = fsspec.core.url_to_fs(target.location)

    def put(self, name: str, content: Any) -> None:
        root = str(self.root).rstrip("/")
        path = f"{root}/{name}"
        if not self.renames:
            self.filesystem.pipe_file(path, bytes(content))
            return
        partial = f"{root}/{PARTIAL}/{name.rpartition('/')[2]}"
        for file in (partial, path):
            self.filesystem.makedirs(file.rpartition("/")[0], exist_ok=True)
        self.filesystem.pipe_file(partial, bytes(content))
        self.filesystem.mv(partial, path)


def store_of(target: LogTarget) -> FileStore:
    return LocalFolder(target.location) if target.kind == "folder" else RemoteStore(target)
