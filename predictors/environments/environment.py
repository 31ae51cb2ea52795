"""Builds environments for models in a cache: each is complete or absent."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from predictors.environments.installers import INSTALLERS, InstallerError, Note
from predictors.environments.recipe import PRODUCT, EnvironmentFailed, Recipe

COMPLETE_FILE = "complete.json"


def default_cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path("~/.cache").expanduser()) / PRODUCT / "environments"


def ensure_environment(recipe: Recipe, cache: Path, note: Note) -> Path:
    """The folder of a complete environment, built if the cache does not have it.

    An environment cannot be moved, so it is built in its final place, by one process at a time. A file that is written
    last marks it as complete; the next process removes an environment without this mark.
    """
    target = cache / recipe.key
    if is_complete(target):
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{recipe.key}.lock", note) as lock:
            if not is_complete(target):
                shutil.rmtree(target, ignore_errors=True)
                build(recipe, target, note, lock)
    except InstallerError as error:
        raise EnvironmentFailed(f"the model's environment cannot be built: {error}") from error
    except OSError as error:
        raise EnvironmentFailed(f"--env-cache {cache} cannot be used: {error.strerror or error}") from error
    return target


def is_complete(target: Path) -> bool:
    """Also records the time of use, for clean-ups, if the volume can be written."""
    mark = target / COMPLETE_FILE
    if not mark.is_file():
        return False
    try:
        os.utime(mark)
    except OSError:
        pass
    return True


@contextmanager
def locked(file: Path, note: Note) -> Iterator[int]:
    """Holds a lock, which the kernel releases if the process dies."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("waiting for another process that builds the model's environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def build(recipe: Recipe, target: Path, note: Note, lock: int) -> None:
    installer = INSTALLERS[recipe.manager]()
    installer.lock_files = (lock,)
    note(f"building the model's environment with {recipe.manager} ({len(recipe.requirements)} requirements)")
    started = time.monotonic()
    try:
        installer.create(target, recipe.python, note)
        arguments: list[str] = []
        for flag, name, lines in (
            ("-r", "model.txt", with_absolute_paths(recipe)),
            ("-r", "server.txt", recipe.server),
            ("-c", "constraints.txt", recipe.constraints),
            ("--override", "overrides.txt", recipe.overrides),
        ):
            if lines:
                write(target / name, "\n".join(lines))
                arguments += [flag, str(target / name)]
        installer.install(target, arguments, note)
        write(target / COMPLETE_FILE, json.dumps(asdict(recipe), default=str, indent=1))
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    note(f"built the model's environment in {time.monotonic() - started:.1f} s")


def with_absolute_paths(recipe: Recipe) -> list[str]:
    """Paths relative to the model folder become absolute: the installer runs in another folder."""
    files = dict(recipe.files)
    return [str((recipe.folder / line).resolve()) if line in files else line for line in recipe.requirements]


def write(file: Path, text: str) -> None:
    """Writes a complete file that only its owner can read: index URLs may hold passwords."""
    part = file.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    part.rename(file)
