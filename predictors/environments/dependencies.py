"""Compares the requirements of a model with the installed packages, and applies the policy for differences."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from predictors.environments.requirements import RequirementsError, canonical, read_requirements
from predictors.flavor import MLmodel

log = logging.getLogger("predictors")

CHECK, STRICT, IGNORE = "check", "strict", "ignore"
NOT_INSTALLED = "not installed"
MAX_SHOWN = 200  # characters of a requirement in a message
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(?:\s*==\s*([\w.!+-]+))?")
DIST_INFO = re.compile(r"(.+)-([^-]+)\.dist-info")
LOCAL_LABEL = re.compile(r"(?<=[\w.])\+[\w.]+")
# The packages of a flavor's framework, if their names differ from the flavor's.
FRAMEWORKS = {
    "sklearn": ("scikit-learn",),
    "pytorch": ("torch",),
    "onnx": ("onnxruntime",),
    "keras": ("keras", "tensorflow"),
    "tensorflow": ("tensorflow", "keras"),
    "python_function": (),
}
# Other distributions of the same modules.
EQUIVALENTS = {
    "mlflow": ("mlflow-skinny",),
    "tensorflow": ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos"),
    "onnxruntime": ("onnxruntime-gpu",),
    "xgboost": ("xgboost-cpu",),
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "psycopg2": ("psycopg2-binary",),
}
MLFLOW = ("mlflow", "mlflow-skinny")


class DependencyError(Exception):
    """The installed packages differ from those that the model requires; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class UnmetRequirement:
    """A requirement of the model that this Python environment does not meet."""

    package: str
    required: str
    installed: str
    critical: bool
    """Whether predictions are likely to fail or to change: another Python, another major version of the model's
    framework, or a missing package."""

    def __str__(self) -> str:
        actual = "but it is not installed" if self.installed == NOT_INSTALLED else f"found {self.installed}"
        return f"{self.package[:MAX_SHOWN]}: the model requires {self.required[:MAX_SHOWN]}, {actual}"


def differences(mlmodel: MLmodel) -> list[UnmetRequirement]:
    """The unmet requirements of the model, critical ones first."""
    required = read_requirements(mlmodel)
    frameworks = {package for flavor in mlmodel.flavors for package in FRAMEWORKS.get(flavor, (flavor,))}
    installed = Installed()
    python = python_difference(required.python) if required.python else None
    unmet = [python, *(readable_difference(line, frameworks, installed) for line in required.requirements)]
    return sorted((item for item in unmet if item is not None), key=lambda item: not item.critical)


def preflight(mlmodel: MLmodel, policy: str) -> tuple[UnmetRequirement, ...] | None:
    """The unmet requirements, logged or refused according to the policy; None if they were not checked."""
    if policy == IGNORE:
        return None
    try:
        unmet = differences(mlmodel)
    except RequirementsError as error:
        if policy == STRICT:
            raise DependencyError(f"--dependencies=strict: {error}") from error
        log.warning("dependencies cannot be checked: %s", error)
        return None
    if policy == STRICT and unmet:
        raise DependencyError(f"--dependencies=strict: {'; '.join(map(str, unmet))}")
    for item in unmet:
        log.warning("%s: %s", "a critical dependency differs" if item.critical else "a dependency differs", item)
    return tuple(unmet)


def newly_critical(served: Iterable[UnmetRequirement], candidate: Iterable[UnmetRequirement]) -> list[UnmetRequirement]:
    """The candidate's critical differences that the served model does not have."""
    known = set(served)
    return [item for item in candidate if item.critical and item not in known]


def python_difference(required: str) -> UnmetRequirement | None:
    running = ".".join(map(str, sys.version_info[:3]))
    if re.fullmatch(r"[\d.*]+", required):
        parts = required.replace("*", "").strip(".").split(".")[:2]
        met = [str(part) for part in sys.version_info[: len(parts)]] == parts
    else:
        met = fits(running, required)
    return None if met else UnmetRequirement("python", required, running, critical=True)


def readable_difference(line: str, frameworks: set[str], installed: Installed) -> UnmetRequirement | None:
    try:
        return difference(line, frameworks, installed)
    except (ValueError, RecursionError) as error:  # of numbers with thousands of digits, and deep markers
        raise RequirementsError(
            f"the requirement {line[:MAX_SHOWN]!r} cannot be read ({type(error).__name__})"
        ) from None


def difference(line: str, frameworks: set[str], installed: Installed) -> UnmetRequirement | None:
    pinned = PINNED.fullmatch(line)
    if pinned is not None and is_same(installed.version(canonical(line)), pinned[1]):
        return None  # the usual case, which saves the import of packaging
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    specifier, url = "", ""
    try:
        requirement = Requirement(LOCAL_LABEL.sub("", line) if "://" not in line else line)
        name, specifier, url = requirement.name, str(requirement.specifier), requirement.url or ""
        if requirement.marker is not None and not requirement.marker.evaluate():
            return None
    except InvalidRequirement:
        try:
            name, wheel_version, _, _ = parse_wheel_filename(line.rpartition("/")[2])
            specifier = f"=={wheel_version.public}"
        except InvalidWheelFilename:
            return None  # a folder or a URL without the name of a package: there is nothing to compare
    version = installed.version(canonical(name))
    required = specifier or ("a package from a URL" if url else "any version")
    if version is None:
        return UnmetRequirement(name, required, NOT_INSTALLED, critical=True)
    if fits(version, specifier) or (canonical(name) in MLFLOW and not is_older(version, specifier)):
        return None
    critical = canonical(name) in frameworks and is_other_major(version, specifier)
    return UnmetRequirement(name, required, version, critical)


class Installed:
    """Installed versions by name, from folder names: reading hundreds of metadata files would delay the start."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        for folder in reversed(sys.path):
            for match in filter(None, map(DIST_INFO.fullmatch, entries(folder or "."))):
                self.versions[canonical(match[1])] = match[2]

    def version(self, name: str) -> str | None:
        for candidate in (name, *EQUIVALENTS.get(name, ())):
            if candidate in self.versions:
                return self.versions[candidate]
            try:
                return metadata.version(candidate)
            except metadata.PackageNotFoundError:
                continue
        return None


def is_same(version: str | None, pinned: str | None) -> bool:
    """Local labels are ignored: `2.13.0+cpu` is another build of 2.13.0."""
    return version is not None and (pinned is None or version.partition("+")[0] == pinned.partition("+")[0])


def entries(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:  # an archive, or missing
        return []


def fits(version: str, specifier: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False


def is_older(version: str, specifier: str) -> bool:
    """For MLflow, which reads models of older versions: only an older installation differs."""
    return any(release(version) < release(bound) for bound in versions(specifier))


def is_other_major(version: str, specifier: str) -> bool:
    """Whether the version lies outside the required major version."""
    return any(is_beyond(version, clause) for clause in specifier.split(",") if not fits(version, clause))


def is_beyond(version: str, clause: str) -> bool:
    bound = next(iter(versions(clause)), version)
    if clause.startswith("<") and "=" not in clause and major(version) == major(bound):
        return not any(release(bound)[len(major(bound)) :])  # <2 excludes all of 2, <2.5 does not
    return major(version) != major(bound)


def versions(specifier: str) -> list[str]:
    return re.findall(r"\d[\w.]*", specifier)


def release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def major(version: str) -> tuple[int, ...]:
    """The major version; before 1.0 it includes the second number."""
    parts = release(version)
    return parts[:2] if parts[:1] == (0,) else parts[:1]
