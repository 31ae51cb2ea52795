"""Where finished files go: a folder, or what fsspec and pyarrow know as stores."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from predictors.prediction_log.targets import OF_ARROW, LogTarget

PARTIAL = ".partial"
OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "obs", "tos", "r2", "hf"}
"""Stores in which nothing is seen of an object before it is complete."""
OLD = 600.0  # seconds after which a file is not being written any more


class LogFolder(Protocol):
    def put(self, name: str, content: Any) -> None:
        """Makes a file that is complete or not there at all."""


class Folder:
    """Files get their name when they are complete; until then they are in a hidden folder that readers skip."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.partial = self.folder / PARTIAL

    def put(self, name: str, content: Any) -> None:
        self.partial.mkdir(parents=True, exist_ok=True)
        self.tidy()
        target = self.folder / name
        made = self.partial / target.name
        try:
            with made.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            made.rename(target)
        except OSError:
            with suppress(OSError):  # it may be the disk that fails
                made.unlink(missing_ok=True)
            raise

    def tidy(self) -> None:
        """What killed processes left; others may be writing theirs at this moment."""
        for one in self.partial.iterdir():
            with suppress(OSError):  # another does the same
                if time.time() - one.stat().st_mtime > OLD:
                    one.unlink()


class LogStore:
    """An object is there once all of it has been sent; elsewhere files are renamed when they are complete."""

    def __init__(self, target: LogTarget) -> None:
        self.renames = target.scheme not in OBJECTS
        if target.scheme in OF_ARROW:
            from fsspec.implementations.arrow import ArrowFSWrapper
            from pyarrow.fs import FileSystem

            filesystem, self.root = FileSystem.from_uri(target.where)
            self.filesystem: Any = ArrowFSWrapper(filesystem)
        else:
            import fsspec

            self.filesystem, self.root = fsspec.core.url_to_fs(target.where)

    def put(self, name: str, content: Any) -> None:
        root = str(self.root).rstrip("/")
        path = f"{root}/{name}"
        if not self.renames:
            self.filesystem.pipe_file(path, bytes(content))
            return
        made = f"{root}/{PARTIAL}/{name.rpartition('/')[2]}"
        for one in (made, path):
            self.filesystem.makedirs(one.rpartition("/")[0], exist_ok=True)
        self.filesystem.pipe_file(made, bytes(content))
        self.filesystem.mv(made, path)


def place_of(target: LogTarget) -> LogFolder:
    return Folder(target.where) if target.kind == "folder" else LogStore(target)
