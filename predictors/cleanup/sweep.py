"""Removing from a cache that others use at the same time, one thing after another, each under its lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predictors.cleanup.retention import Files, Names
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


class Stays(Exception):
    """It is not removed after all; the message says why."""


class Sweep:
    def __init__(self, root: Path, dry_run: bool) -> None:
        self.root, self.dry_run = root, dry_run

    def remove(self, seen: Entry) -> None:
        """An entry that was fit to go when it was `seen`.

        The lock is what makes this safe. Who gives an entry to a pod holds its lock, shared, from the first look at it
        until the pod is among its users and the time of its use is written. So whoever came before us is either still
        at it, and we leave the entry alone, or has left these marks, and the entry is not as it was seen. Whoever
        comes after us waits, and finds no entry: the rename takes it away at once, and its files go later.
        """
        with self.held(seen.key):
            if read_entry(self.root, seen.key) != seen:
                raise Stays("taken or removed by another meanwhile")
            self.discard(seen.path, seen.key)

    def remove_download(self, seen: Partial) -> None:
        with self.held(seen.key):
            if seen not in partials(self.root):
                raise Stays("finished or removed by another meanwhile")
            self.discard(seen.path, seen.key)

    def empty_trash(self, seen: Partial) -> None:
        """Under the lock as well: whoever removes it at this moment would miss what we took away."""
        with self.held(seen.key):
            if not self.dry_run:
                shutil.rmtree(seen.path)

    def discard(self, path: Path, key: str) -> None:
        if not self.dry_run:
            discard(path, self.root, key)
            self.forget_lock(key)

    def forget_users(self, seen: Entry, gone: list[User]) -> None:
        """Under the lock, because a pod that is made again under the same name writes the same file again."""
        if gone and not self.dry_run:
            with self.held(seen.key):
                for user in set(gone) & set(read_users(seen.path)):
                    (seen.path / USERS / user.name).unlink(missing_ok=True)

    def forget_locks(self) -> None:
        """Lock files of what is no more; whoever waits for one at this moment notices (see `locked`)."""
        folder = self.root / LOCKS
        for file in folder.iterdir() if folder.is_dir() and not self.dry_run else ():
            if KEY.fullmatch(file.name):
                try:
                    with self.held(file.name):
                        self.forget_lock(file.name)
                except (Stays, OSError):
                    pass  # next time

    def forget_lock(self, key: str) -> None:
        if not (self.root / key).exists():
            (self.root / LOCKS / key).unlink(missing_ok=True)

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        if self.dry_run and not (self.root / LOCKS / key).exists():
            yield  # nobody holds what is not there, and a dry run makes nothing
            return
        try:
            with locked(self.root, key, wait=False):
                yield
        except Busy:
            raise Stays("being downloaded, or taken by a pod just now") from None


def files_of(folder: Path) -> Files:
    found: dict[tuple[int, int], Names] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                about = (Path(parent) / name).lstat()
            except OSError:
                continue  # gone meanwhile
            file = (about.st_dev, about.st_ino)
            here = found[file].here + 1 if file in found else 1
            found[file] = Names(about.st_size, about.st_nlink, here)
    return found
