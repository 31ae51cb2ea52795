"""Where each model of this server was downloaded to: one file per model, in a folder that all workers share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from predictors.processes.files import locked, write
from predictors.runtime import package_name
from predictors.storage.registry import DOWNLOAD_PREFIX
from predictors.storage.source import Source


class Sources:
    """Sources by the number of their model; `folder` holds the downloads as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def first(self, resolve: Callable[[], Source]) -> Source:
        """Number 1: the first process that needs it resolves and downloads it for all of them."""
        with locked(self.folder, "fetching"):
            if not self.file(1).exists():
                self.add(1, resolve())
        return self.get(1)

    def add(self, number: int, source: Source) -> None:
        write(self.file(number), package_name.dumps(source))

    def get(self, number: int) -> Source:
        with self.file(number).open("rb") as stream:
            source: Source = package_name.load(stream)
        return source

    def numbers(self) -> list[int]:
        return [int(file.name.partition("-")[2]) for file in self.folder.glob("source-*")]

    def drop(self, number: int) -> None:
        """Removes a source, and its download unless another source needs it."""
        try:
            source = self.get(number)
        except FileNotFoundError:
            return
        self.file(number).unlink()
        others = {self.get(other).path for other in self.numbers()}
        if self.folder in source.path.parents and source.path not in others:
            download = self.folder / source.path.relative_to(self.folder).parts[0]
            if not any(download in other.parents for other in others):
                shutil.rmtree(download, ignore_errors=True)

    def drop_all_but(self, kept: Collection[int]) -> None:
        for number in self.numbers():
            if number not in kept:
                self.drop(number)

    def drop_unfinished_downloads(self) -> None:
        """Removes what a process that has ended was downloading."""
        paths = [self.get(number).path for number in self.numbers()]
        for download in self.folder.glob(f"{DOWNLOAD_PREFIX}*"):
            if not any(download in (path, *path.parents) for path in paths):
                shutil.rmtree(download, ignore_errors=True)

    def file(self, number: int) -> Path:
        return self.folder / f"source-{number}"
