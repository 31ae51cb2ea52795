"""The folder that a model is put into: complete with its provenance file, or without that file.

It may be a mount point, so it cannot be replaced by a rename; and a killed process may have left anything in it. The
new model is prepared in a hidden folder inside, which also lists the names that are being put in place.
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

from predictors.storage.cache import NO_FLOCK, open_to_group, sync_folder
from predictors.storage.checksums import differences, regular_files
from predictors.storage.failures import VolumeError, volume_error
from predictors.storage.fetching import copy_file
from predictors.storage.provenance import PROVENANCE_FILE, Provenance, read_provenance
from predictors.storage.redaction import without_secrets

log = logging.getLogger("predictors.storage")

STAGE = ".mlflow-kserve.partial"
PLACING = "placing.json"


class OutputError(VolumeError):
    """The output folder cannot hold the model, whether or not there is a cache."""


class OutputFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.stage = path / STAGE
        self.mark = path / PROVENANCE_FILE

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one process in at a time, and first removes what a killed one left."""
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_FLOCK:
                    raise
            with output_errors(self.path):
                self.remove_leftovers()
            yield
        finally:
            os.close(handle)

    def remove_leftovers(self) -> None:
        if self.stage.is_dir():
            log.info("removing what an interrupted run left in %s", self.path)
            for name in self.names_being_placed():
                remove(self.path / name)
            shutil.rmtree(self.stage)

    def names_being_placed(self) -> list[str]:
        try:
            names = json.loads((self.stage / PLACING).read_text(encoding="utf-8"))
            return [name for name in names if Path(name).name == name]
        except (OSError, ValueError, TypeError):
            return []

    def existing(self, resolved_uri: str, full: bool) -> Provenance | None:
        """The provenance of the folder's model, if it is complete and the one that the URI resolves to."""
        provenance = read_provenance(self.mark)
        if provenance is None or provenance.resolved_uri != without_secrets(resolved_uri):
            return None
        changes = differences(self.path, provenance.files, full=full)
        if changes:
            log.warning("the model in %s has changed since it was put there: %s", self.path, "; ".join(changes[:3]))
        return None if changes else provenance

    def create_stage(self) -> Path:
        """An empty folder on the same file system."""
        with output_errors(self.path):
            folder = self.stage / "model"
            folder.mkdir(parents=True)
            return folder

    def place_download(self, folder: Path, provenance: Provenance) -> None:
        """Puts a model in place that was downloaded into the stage."""
        with output_errors(self.path):
            for parent, folders, names in os.walk(folder):
                for name in (*folders, *names):
                    open_to_group(Path(parent) / name, others=True)
            self.place(folder, provenance)

    def place_cached(self, model: Path, provenance: Provenance, link: str) -> None:
        """Links or copies a model from the cache and puts it in place."""
        folder = self.create_stage()
        with output_errors(self.path):
            if link == "symlink":
                for path in model.iterdir():
                    (folder / path.name).symlink_to(path)
            else:
                linked = link_or_copy(model, folder, provenance, link)
                log.info("%s the files of the cache", "hard links to" if linked else "copied")
            self.place(folder, provenance)

    def place(self, folder: Path, provenance: Provenance) -> None:
        """Replaces the old model's files by the new ones. Other files stay; the provenance file comes last."""
        old = read_provenance(self.mark)
        old_names = {Path(name).parts[0] for name in old.files} if old else set()
        new_names = sorted(path.name for path in folder.iterdir())
        for name in sorted(old_names):
            foreign = [file for file in self.files_below(name) if not old or file not in old.files]
            if foreign:
                raise OutputError(f"{self.path} holds files that do not belong to its model: {listed(foreign)}")
        conflicting = [name for name in new_names if name not in old_names and os.path.lexists(self.path / name)]
        if conflicting:
            raise OutputError(f"{self.path} holds other files under names that the model needs: {listed(conflicting)}")
        (self.stage / PLACING).write_text(json.dumps(sorted({*old_names, *new_names})), encoding="utf-8")
        sync_folder(self.stage)
        self.mark.unlink(missing_ok=True)
        for name in old_names:
            remove(self.path / name)
        for name in new_names:
            (folder / name).rename(self.path / name)
        sync_folder(self.path)
        provenance.write(self.mark)
        sync_folder(self.path)
        shutil.rmtree(self.stage)

    def files_below(self, name: str) -> Iterator[str]:
        path = self.path / name
        if path.is_symlink() or not path.is_dir():
            return
        for file in regular_files(path):
            if "__pycache__" not in Path(file).parts:
                yield f"{name}/{file}"


def link_or_copy(model: Path, folder: Path, provenance: Provenance, link: str) -> bool:
    """Fills the folder with hard links if possible, else with copies; returns whether all files are links."""
    linked = link != "copy"
    for name in provenance.files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if linked:
            try:
                os.link(model / name, target)
                continue
            except OSError as error:
                if link == "hardlink":
                    reason = f"{error.strerror}; is {folder.parent.parent} on the volume of the cache?"
                    raise OutputError(f"CACHE_LINK=hardlink: cannot link to the cache: {reason}") from error
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


def listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@contextlib.contextmanager
def output_errors(folder: Path) -> Iterator[None]:
    """Errors of the file system become OutputError, which is not blamed on the cache."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from error
    except OSError as error:
        if error.filename is None:  # a write that found no space
            error.filename = f"the volume of {folder}"
        raise OutputError(str(volume_error(error))) from error
