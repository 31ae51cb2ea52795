"""The folder that a model is put into: complete, with a file beside it that says so, or without that file.

It may be a mount point, so it cannot be replaced by a rename; and a killed process may have left anything in it. What
is to go in is prepared in a hidden folder inside of it, which also lists the names that are being put in place.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from predictors.storage.cache import NO_FLOCK, open_to_group, settle
from predictors.storage.checksums import differences, regular_files
from predictors.storage.failures import VolumeError, on_volume
from predictors.storage.fetching import copy_file
from predictors.storage.provenance import BESIDE, Provenance, read_provenance, without_secrets

log = logging.getLogger("predictors.storage")

STAGE = ".mlflow-kserve.partial"
PLACING = "placing.json"


class OutputError(VolumeError):
    """The folder that the model is to be put into cannot take it."""


class OutputFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.stage = path / STAGE
        self.mark = path / BESIDE

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """One process at a time; what a killed one left is cleaned up first."""
        with speaking(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_FLOCK:
                    raise
            with speaking(self.path):
                self.clean()
            yield
        finally:
            os.close(handle)

    def clean(self) -> None:
        if self.stage.is_dir():
            log.info("cleaning up what was left half-done in %s", self.path)
            for name in self.being_placed():
                remove(self.path / name)
            shutil.rmtree(self.stage)

    def being_placed(self) -> list[str]:
        try:
            names = json.loads((self.stage / PLACING).read_text(encoding="utf-8"))
            return [name for name in names if Path(name).name == name]
        except (OSError, ValueError, TypeError):
            return []

    def holds(self, resolved_uri: str, full: bool) -> Provenance | None:
        """What is there, if it is complete and what the URI resolves to."""
        known = read_provenance(self.mark)
        if known is None or known.resolved_uri != without_secrets(resolved_uri):
            return None
        wrong = differences(self.path, known.files, full=full)
        if wrong:
            log.warning("%s is not as it was put there: %s", self.path, "; ".join(wrong[:3]))
        return None if wrong else known

    def staged(self) -> Path:
        """An empty folder on the same file system."""
        with speaking(self.path):
            folder = self.stage / "model"
            folder.mkdir(parents=True)
            return folder

    def move(self, folder: Path, known: Provenance) -> None:
        """A model that was downloaded into the stage goes into place."""
        with speaking(self.path):
            for parent, folders, names in os.walk(folder):
                for name in (*folders, *names):
                    open_to_group(Path(parent) / name, others=True)
            self.place(folder, known)

    def take(self, model: Path, known: Provenance, link: str) -> None:
        """A model of the cache is linked or copied."""
        folder = self.staged()
        with speaking(self.path):
            if link == "symlink":
                for path in model.iterdir():
                    (folder / path.name).symlink_to(path)
            else:
                linked = fill(model, folder, known, link)
                log.info("%s the files of the cache", "hard links to" if linked else "copied")
            self.place(folder, known)

    def place(self, folder: Path, known: Provenance) -> None:
        """The old model's files go, the new ones come; others stay, and the mark of completeness comes last."""
        old = read_provenance(self.mark)
        ours = {Path(name).parts[0] for name in old.files} if old else set()
        coming = sorted(path.name for path in folder.iterdir())
        for name in sorted(ours):
            strange = [one for one in self.files_below(name) if not old or one not in old.files]
            if strange:
                raise OutputError(f"{self.path} holds files that are not of the model that is there: {some(strange)}")
        there = [name for name in coming if name not in ours and os.path.lexists(self.path / name)]
        if there:
            raise OutputError(f"{self.path} holds other files under names that the model needs: {some(there)}")
        listed = self.stage / PLACING
        listed.write_text(json.dumps(sorted({*ours, *coming})), encoding="utf-8")
        settle(self.stage)
        self.mark.unlink(missing_ok=True)
        for name in ours:
            remove(self.path / name)
        for name in coming:
            (folder / name).rename(self.path / name)
        settle(self.path)
        known.write(self.mark)
        settle(self.path)
        shutil.rmtree(self.stage)

    def files_below(self, name: str) -> Iterator[str]:
        path = self.path / name
        if path.is_symlink() or not path.is_dir():
            return
        for file in regular_files(path):
            if "__pycache__" not in Path(file).parts:
                yield f"{name}/{file}"


def fill(model: Path, folder: Path, known: Provenance, link: str) -> bool:
    """Hard links where they can be, else copies; whether all are links."""
    linked = link != "copy"
    for name in known.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if linked:
            try:
                os.link(model / name, target)
                continue
            except OSError as error:
                if link == "hardlink":
                    reason = f"{error.strerror}: is {folder.parent.parent} on the volume of the cache?"
                    raise OutputError(f"CACHE_LINK=hardlink: no hard links to the cache: {reason}") from error
                linked = False
        copy_file(model / name, target)
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            open_to_group(Path(parent) / name, others=True)
    return linked


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@contextlib.contextmanager
def speaking(folder: Path) -> Iterator[None]:
    """What the file system refuses is said of the output, and not of the cache."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from error
    except OSError as error:
        if error.filename is None:  # a write that found no space
            error.filename = f"the volume of {folder}"
        raise OutputError(str(on_volume(error))) from error
