"""Environments for models: what one holds, under which name it is kept, and how it comes to be complete or absent."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from predictors.environments.dependencies import MLFLOW, STRICT, Installed, fits
from predictors.environments.installers import INSTALLERS, InstallerError, Note, Pip, Uv
from predictors.environments.requirements import ModelRequirements, RequirementsError, canonical, wanted
from predictors.environments.settings import RecipeSettings
from predictors.flavor import BY_NAME, FLAVORS, MLmodel

log = logging.getLogger("predictors")

OURS = "mlflow-kserve"
COMPLETE = "complete.json"
OLDEST_PYTHON = (3, 11)
# Extras that say nothing of what a server here can do.
NOT_FEATURES = {flavor.extra for flavor in FLAVORS} | {"boosting", "test", "lint", "uv", "virtualenv", "cleanup"}
# KServe bounds them for parts of it that are not used here; a model's version of them is as good.
UNUSED = frozenset(
    {"psutil", "pillow", "urllib3", "aiohttp", "tabulate", "six", "pyasn1"} | {"python-multipart", "h11", "kubernetes"}
)


class EnvironmentFailed(Exception):
    """The model's environment cannot be had; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what is in an environment."""

    manager: str
    python: str
    """The interpreter; environments link to it."""
    version: str
    platform: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    overrides: tuple[str, ...]
    server: tuple[str, ...]
    """What the server itself needs."""
    files: tuple[tuple[str, str], ...]
    """The packages that lie in the model folder, with their hashes."""
    folder: Path
    """Where the model lies; it is no part of what makes the environment."""

    @property
    def key(self) -> str:
        text = json.dumps({**asdict(self), "folder": None}, sort_keys=True)
        return f"py{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def recipe(mlmodel: MLmodel, settings: RecipeSettings) -> Recipe:
    """What the environment of a model holds: what the model asks for, and what its server needs."""
    try:
        asked = wanted(mlmodel)
    except RequirementsError as error:
        raise EnvironmentFailed(str(error)) from error
    installer = INSTALLERS[settings.env_manager]()
    python, version = interpreter(asked.python, installer, settings)
    flavor = mlmodel.detect() if settings.flavor is None else BY_NAME[settings.flavor]
    server = server_requirements(flavor.extra, version)
    own_mlflow = next(line for line in server if canonical(line) == "mlflow-skinny")
    lines = [line for line in (for_server(line, own_mlflow) for line in asked.lines) if line]
    return Recipe(
        manager=settings.env_manager,
        python=python,
        version=version,
        platform=sysconfig.get_platform(),
        requirements=tuple(lines),
        constraints=asked.constraints,
        overrides=tuple(line for line in lines if installer.overrides and canonical(line) in UNUSED),
        server=tuple(server),
        files=tuple(local_files(asked)),
        folder=asked.folder,
    )


def interpreter(asked: str | None, installer: Uv | Pip, settings: RecipeSettings) -> tuple[str, str]:
    """The Python that the model asks for, as far as its minor version; else the one that runs."""
    own = (os.path.realpath(getattr(sys, "_base_executable", sys.executable)), minor(sys.version_info[:2]))
    found = re.search(r"(\d+)\.(\d+)", asked or "")
    if asked is None or found is None or minor((int(found[1]), int(found[2]))) == own[1]:
        return own
    if not asked[0].isdigit() and fits(".".join(map(str, sys.version_info[:3])), asked):
        return own
    version = (int(found[1]), int(found[2]))
    python = installer.find_python(minor(version)) if version >= OLDEST_PYTHON else None
    if python is not None:
        return os.path.realpath(python), minor(version)
    why = "is not installed" if version >= OLDEST_PYTHON else f"is older than {minor(OLDEST_PYTHON)}, the oldest usable"
    reason = f"python: the model wants {asked}, which {why}"
    if settings.dependencies == STRICT:
        raise EnvironmentFailed(f"--dependencies=strict: {reason}")
    log.warning("%s; its environment has %s", reason, own[1])
    return own


def minor(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def server_requirements(extra: str, version: str) -> list[str]:
    """Our own, with the extra of the flavor and those of the features that this installation has."""
    from packaging.requirements import Requirement

    declared = [Requirement(text) for text in metadata.requires(OURS) or ()]
    target = {"python_version": version, "python_full_version": f"{version}.0"}

    def of(extra: str) -> list[Requirement]:
        return [one for one in declared if one.marker and one.marker.evaluate({**target, "extra": extra})]

    plain = [one for one in declared if one.marker is None or one.marker.evaluate({**target, "extra": ""})]
    installed = Installed()
    extras = set(metadata.metadata(OURS).get_all("Provides-Extra") or ()) - NOT_FEATURES
    features = [name for name in sorted(extras) if all(installed.version(canonical(one.name)) for one in of(name))]
    chosen = [*plain, *(one for name in (extra, *features) for one in of(name))]
    return sorted({f"{one.name}{brackets(one.extras)}{one.specifier}" for one in chosen if canonical(one.name) != OURS})


def brackets(extras: set[str]) -> str:
    return f"[{','.join(sorted(extras))}]" if extras else ""


def for_server(line: str, own_mlflow: str) -> str | None:
    """A line of the model's, but MLflow is the server's own: all of it that serving takes, in a version that serves."""
    if canonical(line) == OURS:
        return None
    if canonical(line) not in MLFLOW or "[" in line or "@" in line:
        return line
    rest = line.partition("flow")[2].removeprefix("-skinny").removeprefix("_skinny").partition(" --")[0]
    pinned = re.fullmatch(r"\s*==\s*([\w.!+-]+)\s*", rest)
    if pinned is None:
        return f"mlflow-skinny{rest}"
    return f"mlflow-skinny=={pinned[1]}" if fits(pinned[1], own_mlflow.removeprefix("mlflow-skinny")) else None


def local_files(asked: ModelRequirements) -> Iterator[tuple[str, str]]:
    """What lies in the model folder itself, such as wheels."""
    for line in asked.lines:
        file = (asked.folder / line.split(" ")[0]).resolve()
        if "/" in line and file.is_file() and file.is_relative_to(asked.folder.resolve()):
            yield line, hashlib.sha256(file.read_bytes()).hexdigest()


def default_cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path("~/.cache").expanduser()) / OURS / "environments"


def environment(recipe: Recipe, cache: Path, note: Note) -> Path:
    """The folder of a complete environment: the one that is kept, or a new one.

    An environment cannot be moved, so it is built where it stays, by one process at a time; a mark that is written
    last says that it is complete, and what has no mark is removed by whoever comes next.
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
    """A mark of recent use stays behind, for whoever cleans up; a volume may be read-only."""
    mark = target / COMPLETE
    if not mark.is_file():
        return False
    try:
        os.utime(mark)
    except OSError:
        pass
    return True


@contextmanager
def locked(file: Path, note: Note) -> Iterator[int]:
    """The kernel lets go of it when its holder dies, however that happens."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("waiting for another process that builds the model's environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def build(recipe: Recipe, target: Path, note: Note, lock: int) -> None:
    installer = INSTALLERS[recipe.manager]()
    installer.held = (lock,)
    note(f"building the model's environment with {recipe.manager} ({len(recipe.requirements)} requirements)")
    started = time.monotonic()
    try:
        installer.make(target, recipe.python, note)
        arguments: list[str] = []
        for flag, name, lines in (
            ("-r", "model.txt", with_whole_paths(recipe)),
            ("-r", "server.txt", recipe.server),
            ("-c", "constraints.txt", recipe.constraints),
            ("--override", "overrides.txt", recipe.overrides),
        ):
            if lines:
                write(target / name, "\n".join(lines))
                arguments += [flag, str(target / name)]
        installer.install(target, arguments, note)
        write(target / COMPLETE, json.dumps(asdict(recipe), default=str, indent=1))
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    note(f"built the model's environment in {time.monotonic() - started:.1f} s")


def with_whole_paths(recipe: Recipe) -> list[str]:
    """The installer runs elsewhere than in the model folder."""
    inside = dict(recipe.files)
    return [str((recipe.folder / line).resolve()) if line in inside else line for line in recipe.requirements]


def write(file: Path, text: str) -> None:
    """For nobody else to read: addresses of indexes may hold passwords. Complete at once, also after a crash."""
    part = file.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    part.rename(file)
