"""What a model asks for against what is installed: differences by name, and what the operator wants done about them."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from predictors.environments.requirements import RequirementsError, canonical, wanted
from predictors.flavor import MLmodel

log = logging.getLogger("predictors")

CHECK, STRICT, IGNORE = "check", "strict", "ignore"
NOT_INSTALLED = "not installed"
PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(?:\s*==\s*([\w.!+-]+))?")
DIST_INFO = re.compile(r"(.+)-([^-]+)\.dist-info")
LOCAL_LABEL = re.compile(r"(?<=[\w.])\+[\w.]+")
# The package that a flavor's models are made with, where it is not called like the flavor.
FRAMEWORKS = {
    "sklearn": ("scikit-learn",),
    "pytorch": ("torch",),
    "onnx": ("onnxruntime",),
    "keras": ("keras", "tensorflow"),
    "tensorflow": ("tensorflow", "keras"),
    "python_function": (),
}
# Other distributions of the same modules.
STANDS_IN = {
    "mlflow": ("mlflow-skinny",),
    "tensorflow": ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos"),
    "onnxruntime": ("onnxruntime-gpu",),
    "xgboost": ("xgboost-cpu",),
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "psycopg2": ("psycopg2-binary",),
}
MLFLOW = ("mlflow", "mlflow-skinny")


class DependencyError(Exception):
    """The model needs other packages than are installed; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class UnmetRequirement:
    """One thing that the model asks for and does not find."""

    package: str
    wanted: str
    found: str
    matters: bool
    """Whether predictions are likely to fail or to change: another Python, another major version of the model's
    framework, a package that is not there."""

    def __str__(self) -> str:
        return f"{self.package}: the model wants {self.wanted}, found {self.found}"


def differences(mlmodel: MLmodel) -> list[UnmetRequirement]:
    """What the model asks for and does not find; what matters comes first."""
    asked = wanted(mlmodel)
    frameworks = {package for flavor in mlmodel.flavors for package in FRAMEWORKS.get(flavor, (flavor,))}
    installed = Installed()
    python = python_difference(asked.python) if asked.python else None
    found = [python, *(difference(line, frameworks, installed) for line in asked.requirements)]
    return sorted((one for one in found if one is not None), key=lambda one: not one.matters)


def preflight(mlmodel: MLmodel, policy: str) -> tuple[UnmetRequirement, ...] | None:
    """What differs, said or refused as the policy wants; None if nobody looked."""
    if policy == IGNORE:
        return None
    try:
        found = differences(mlmodel)
    except RequirementsError as error:
        if policy == STRICT:
            raise DependencyError(f"--dependencies=strict: {error}") from error
        log.warning("dependencies cannot be checked: %s", error)
        return None
    if policy == STRICT and found:
        raise DependencyError(f"--dependencies=strict: {'; '.join(map(str, found))}")
    for one in found:
        log.warning("a dependency differs%s: %s", ", and this one matters" if one.matters else "", one)
    return tuple(found)


def worse(served: Iterable[UnmetRequirement], candidate: Iterable[UnmetRequirement]) -> list[UnmetRequirement]:
    """What matters of the candidate's differences and the served model has not."""
    known = set(served)
    return [one for one in candidate if one.matters and one not in known]


def python_difference(asked: str) -> UnmetRequirement | None:
    here = ".".join(map(str, sys.version_info[:3]))
    if re.fullmatch(r"[\d.*]+", asked):
        parts = asked.replace("*", "").strip(".").split(".")[:2]
        met = [str(part) for part in sys.version_info[: len(parts)]] == parts
    else:
        met = fits(here, asked)
    return None if met else UnmetRequirement("python", asked, here, matters=True)


def difference(line: str, frameworks: set[str], installed: Installed) -> UnmetRequirement | None:
    pinned = PINNED.fullmatch(line)
    if pinned is not None and same(installed.version(canonical(line)), pinned[1]):
        return None  # the usual case, without the time that packaging takes to import
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    specifier, url = "", ""
    try:
        asked = Requirement(LOCAL_LABEL.sub("", line) if "://" not in line else line)
        name, specifier, url = asked.name, str(asked.specifier), asked.url or ""
        if asked.marker is not None and not asked.marker.evaluate():
            return None
    except InvalidRequirement:
        try:
            name, version, _, _ = parse_wheel_filename(line.rpartition("/")[2])
            specifier = f"=={version.public}"
        except InvalidWheelFilename:
            return None  # a folder or an address that names no package: nothing to compare with
    found = installed.version(canonical(name))
    asked_for = specifier or ("a package from an address" if url else "any version")
    if found is None:
        return UnmetRequirement(name, asked_for, NOT_INSTALLED, matters=True)
    if fits(found, specifier) or (canonical(name) in MLFLOW and not older(found, specifier)):
        return None
    return UnmetRequirement(
        name, asked_for, found, matters=canonical(name) in frameworks and other_major(found, specifier)
    )


class Installed:
    """Versions by name. Folder names tell them; to read hundreds of metadata files would hold up the start."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        for folder in reversed(sys.path):
            for found in filter(None, map(DIST_INFO.fullmatch, entries(folder or "."))):
                self.versions[canonical(found[1])] = found[2]

    def version(self, name: str) -> str | None:
        for candidate in (name, *STANDS_IN.get(name, ())):
            if candidate in self.versions:
                return self.versions[candidate]
            try:
                return metadata.version(candidate)
            except metadata.PackageNotFoundError:
                continue
        return None


def same(found: str | None, asked: str | None) -> bool:
    """`2.13.0+cpu` is another build of 2.13.0."""
    return found is not None and (asked is None or found.partition("+")[0] == asked.partition("+")[0])


def entries(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:  # an archive, or not there
        return []


def fits(found: str, specifier: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(specifier).contains(found, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False


def older(found: str, specifier: str) -> bool:
    """MLflow reads what its older versions wrote, so only a version below the one that is asked for differs."""
    return any(release(found) < release(version) for version in versions(specifier))


def other_major(found: str, specifier: str) -> bool:
    """Whether what is there lies beyond the major version that is asked for."""
    return any(beyond(found, clause) for clause in specifier.split(",") if not fits(found, clause))


def beyond(found: str, clause: str) -> bool:
    bound = next(iter(versions(clause)), found)
    if clause.startswith("<") and "=" not in clause and major(found) == major(bound):
        return not any(release(bound)[len(major(bound)) :])  # <2 leaves out all of 2, <2.5 does not
    return major(found) != major(bound)


def versions(specifier: str) -> list[str]:
    return re.findall(r"\d[\w.]*", specifier)


def release(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def major(version: str) -> tuple[int, ...]:
    """Before 1.0 the second number is the one that counts."""
    parts = release(version)
    return parts[:2] if parts[:1] == (0,) else parts[:1]
