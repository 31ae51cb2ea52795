"""Removes entries of a cache that other processes use at the same time, each under its lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predictors.cleanup.retention import FileLinks, Files
from predictors.storage.cache import (
    KEY,
    LOCKS,
    USERS,
    Busy,
    Entry,
    Partial,
    User,
    discard,
    locked,
    partials,
    read_entry,
    read_users,
)


class EntryKept(Exception):
    """It is not removed after all; the message gives the reason."""


class Sweep:
    def __init__(self, root: Path, dry_run: bool) -> None:
        self.root, self.dry_run = root, dry_run

    def remove(self, seen: Entry) -> None:
        """Removes an entry that could be removed when it was `seen`.

        The lock makes this safe. A storage initializer holds it, shared, from reading the entry until it has recorded
        the pod and the time of use. One that came before the clean-up either still holds the lock, or has changed the
        entry. One that comes later waits, and finds no entry: a rename removes it at once, and its files go later.
        """
        with self.locked(seen.key):
            if read_entry(self.root, seen.key) != seen:
                raise EntryKept("used or removed by another process in the meantime")
            self.discard(seen.path, seen.key)

    def remove_download(self, seen: Partial) -> None:
        with self.locked(seen.key):
            if seen not in partials(self.root):
                raise EntryKept("finished or removed by another process in the meantime")
            self.discard(seen.path, seen.key)

    def empty_trash(self, seen: Partial) -> None:
        """Under the lock as well: another process may be removing it."""
        with self.locked(seen.key):
            if not self.dry_run:
                shutil.rmtree(seen.path)

    def discard(self, path: Path, key: str) -> None:
        if not self.dry_run:
            discard(path, self.root, key)
            self.remove_lock(key)

    def remove_users(self, seen: Entry, gone: list[User]) -> None:
        """Under the lock, because a new pod with the same name writes the same file."""
        if gone and not self.dry_run:
            with self.locked(seen.key):
                for user in set(gone) & set(read_users(seen.path)):
                    (seen.path / USERS / user.name).unlink(missing_ok=True)

    def remove_locks(self) -> None:
        """Removes lock files without an entry; a process that waits for one notices, see `cache.locked`."""
        folder = self.root / LOCKS
        for file in folder.iterdir() if folder.is_dir() and not self.dry_run else ():
            if KEY.fullmatch(file.name):
                try:
                    with self.locked(file.name):
                        self.remove_lock(file.name)
                except (EntryKept, OSError):
                    pass  # next time

    def remove_lock(self, key: str) -> None:
        if not (self.root / key).exists():
            (self.root / LOCKS / key).unlink(missing_ok=True)

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        if self.dry_run and not (self.root / LOCKS / key).exists():
            yield  # without a file nobody holds the lock, and a dry run creates none
            return
        try:
            with locked(self.root, key, wait=False):
                yield
        except Busy:
            raise EntryKept("being downloaded or handed to a pod") from None


def file_links(folder: Path) -> Files:
    links: dict[tuple[int, int], FileLinks] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = (Path(parent) / name).lstat()
            except OSError:
                continue  # removed in the meantime
            file = (status.st_dev, status.st_ino)
            here = links[file].here + 1 if file in links else 1
            links[file] = FileLinks(status.st_size, status.st_nlink, here)
    return links
