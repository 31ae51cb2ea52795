"""The recipe of an environment: the interpreter and all packages that the model and its server need."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from predictors.environments.dependencies import MLFLOW, STRICT, Installed, fits
from predictors.environments.installers import INSTALLERS, Pip, Uv
from predictors.environments.requirements import ModelRequirements, RequirementsError, canonical, read_requirements
from predictors.environments.settings import RecipeSettings
from predictors.flavor import BY_NAME, FLAVORS, MLmodel

log = logging.getLogger("predictors")

PRODUCT = "mlflow-kserve"
OLDEST_PYTHON = (3, 11)
# Extras that add no feature to a server.
NOT_FEATURES = {flavor.extra for flavor in FLAVORS} | {
    "boosting", "cleanup", "conformance", "controlplane", "controlplane-kserve", "lint", "loadtest", "monitoring",
    "postgres", "test", "uv", "virtualenv",
}  # fmt: skip
# KServe limits their versions for code that is not used here: the model's versions take precedence.
NOT_USED_BY_SERVER = frozenset(
    {"psutil", "pillow", "urllib3", "aiohttp", "tabulate", "six", "pyasn1"} | {"python-multipart", "h11", "kubernetes"}
)


class EnvironmentFailed(Exception):
    """The model's environment cannot be provided; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines the content of an environment."""

    manager: str
    python: str
    """The interpreter; environments link to it."""
    version: str
    platform: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    overrides: tuple[str, ...]
    server: tuple[str, ...]
    """The requirements of the server itself."""
    files: tuple[tuple[str, str], ...]
    """Packages in the model folder, such as wheels, with their hashes."""
    folder: Path
    """The model folder; it does not affect the content of the environment."""

    @property
    def key(self) -> str:
        text = json.dumps({**asdict(self), "folder": None}, sort_keys=True)
        return f"py{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def recipe_for(mlmodel: MLmodel, settings: RecipeSettings) -> Recipe:
    """The recipe for a model: its own requirements, and those of the server."""
    try:
        required = read_requirements(mlmodel)
    except RequirementsError as error:
        raise EnvironmentFailed(str(error)) from error
    installer = INSTALLERS[settings.env_manager]()
    python, version = interpreter(required.python, installer, settings)
    flavor = mlmodel.detect() if settings.flavor is None else BY_NAME[settings.flavor]
    server = server_requirements(flavor.extra, version)
    own_mlflow = next(line for line in server if canonical(line) == "mlflow-skinny")
    lines = [line for line in (for_server(line, own_mlflow) for line in required.lines) if line]
    return Recipe(
        manager=settings.env_manager,
        python=python,
        version=version,
        platform=sysconfig.get_platform(),
        requirements=tuple(lines),
        constraints=required.constraints,
        overrides=tuple(line for line in lines if installer.overrides and canonical(line) in NOT_USED_BY_SERVER),
        server=tuple(server),
        files=tuple(local_files(required)),
        folder=required.folder,
    )


def interpreter(required: str | None, installer: Uv | Pip, settings: RecipeSettings) -> tuple[str, str]:
    """The interpreter with the minor version that the model requires; the running one if there is none."""
    own = (os.path.realpath(getattr(sys, "_base_executable", sys.executable)), minor(sys.version_info[:2]))
    match = re.search(r"(\d+)\.(\d+)", required or "")
    if required is None or match is None or minor((int(match[1]), int(match[2]))) == own[1]:
        return own
    if not required[0].isdigit() and fits(".".join(map(str, sys.version_info[:3])), required):
        return own
    version = (int(match[1]), int(match[2]))
    python = installer.find_python(minor(version)) if version >= OLDEST_PYTHON else None
    if python is not None:
        return os.path.realpath(python), minor(version)
    why = (
        "is not installed"
        if version >= OLDEST_PYTHON
        else f"is older than {minor(OLDEST_PYTHON)}, the oldest supported version"
    )
    reason = f"python: the model requires {required}, which {why}"
    if settings.dependencies == STRICT:
        raise EnvironmentFailed(f"--dependencies=strict: {reason}")
    log.warning("%s; its environment has %s", reason, own[1])
    return own


def minor(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def server_requirements(extra: str, version: str) -> list[str]:
    """The requirements of this distribution, with the extras of the flavor and of the installed features."""
    from packaging.requirements import Requirement

    declared = [Requirement(text) for text in metadata.requires(PRODUCT) or ()]
    target = {"python_version": version, "python_full_version": f"{version}.0"}

    def of_extra(extra: str) -> list[Requirement]:
        return [item for item in declared if item.marker and item.marker.evaluate({**target, "extra": extra})]

    plain = [item for item in declared if item.marker is None or item.marker.evaluate({**target, "extra": ""})]
    installed = Installed()
    extras = set(metadata.metadata(PRODUCT).get_all("Provides-Extra") or ()) - NOT_FEATURES
    features = [
        name for name in sorted(extras) if all(installed.version(canonical(item.name)) for item in of_extra(name))
    ]
    chosen = [*plain, *(item for name in (extra, *features) for item in of_extra(name))]
    return sorted(
        {f"{item.name}{brackets(item.extras)}{item.specifier}" for item in chosen if canonical(item.name) != PRODUCT}
    )


def brackets(extras: set[str]) -> str:
    return f"[{','.join(sorted(extras))}]" if extras else ""


def for_server(line: str, own_mlflow: str) -> str | None:
    """A requirement of the model. MLflow becomes mlflow-skinny, and is dropped if the server needs another version."""
    if canonical(line) == PRODUCT:
        return None
    if canonical(line) not in MLFLOW or "[" in line or "@" in line:
        return line
    rest = line.partition("flow")[2].removeprefix("-skinny").removeprefix("_skinny").partition(" --")[0]
    pinned = re.fullmatch(r"\s*==\s*([\w.!+-]+)\s*", rest)
    if pinned is None:
        return f"mlflow-skinny{rest}"
    return f"mlflow-skinny=={pinned[1]}" if fits(pinned[1], own_mlflow.removeprefix("mlflow-skinny")) else None


def local_files(required: ModelRequirements) -> Iterator[tuple[str, str]]:
    """Packages in the model folder, such as wheels, with their hashes."""
    for line in required.lines:
        file = (required.folder / line.split(" ")[0]).resolve()
        if "/" in line and file.is_file() and file.is_relative_to(required.folder.resolve()):
            yield line, hashlib.sha256(file.read_bytes()).hexdigest()
