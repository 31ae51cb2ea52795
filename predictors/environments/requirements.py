"""Reads the Python version and the packages that a model requires, from the files that MLflow writes with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from predictors.bounded_yaml import load_yaml
from predictors.flavor import MLmodel

REQUIREMENTS, PYTHON_ENV, CONDA = "requirements.txt", "python_env.yaml", "conda.yaml"
COMMENT = re.compile(r"(^|\s)#.*$")
# pip also takes the beginnings of long options.
INCLUDE = re.compile(r"(?:-(?P<short>[rc])(?:\s+|=|(?=[^\s-]))|--(?P<long>req\w*|cons\w*)(?:\s+|=))(?P<file>.+)")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
CONDA_SPEC = re.compile(r"(?:\S*::)?(?P<name>[A-Za-z0-9_][\w.-]*)\s*(?P<spec>\[.*|[=<>!~\s].*)?")
# Conda has other packages than Python's, and other names for some Python packages.
NOT_PYTHON = re.compile(
    r"(python|pip|setuptools|wheel|conda|nomkl|mkl|blas|openblas|openssl|zlib|ca-certificates|sqlite|git|"
    r"gcc.*|gxx.*|gfortran.*|clang.*|.*compilers?|cuda.*|cudnn|cmake|make|openjdk|r-.*|lib.*|_.*)"
)
CONDA_NAMES = {"pytorch": "torch", "pytorch-cpu": "torch", "tensorflow-base": "tensorflow", "py-xgboost": "xgboost"}


class RequirementsError(Exception):
    """The requirements of a model cannot be read; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class ModelRequirements:
    """The requirements of a model as its files list them."""

    folder: Path
    python: str | None = None
    lines: tuple[str, ...] = ()
    """Requirements and options in pip's format, with those of included files."""
    constraints: tuple[str, ...] = ()

    @property
    def requirements(self) -> tuple[str, ...]:
        """The requirements without options and hashes."""
        return tuple(line.split(" --")[0].strip() for line in self.lines if not line.startswith("-"))


def read_requirements(mlmodel: MLmodel) -> ModelRequirements:
    """Reads requirements.txt, and the packages that conda.yaml adds; without requirements.txt all of conda.yaml."""
    folder = mlmodel.path
    conda = read_yaml(folder / CONDA)
    dependencies = conda.get("dependencies")
    packages = dependencies if isinstance(dependencies, list) else []
    lines: list[str] = []
    constraints: list[str] = []
    if (folder / REQUIREMENTS).is_file():
        read_lines(read_text(folder / REQUIREMENTS), folder, lines, constraints)
    else:
        for part in packages:
            listed = part.get("pip") if isinstance(part, Mapping) else None
            if isinstance(listed, list):
                read_lines("\n".join(line for line in listed if isinstance(line, str)), folder, lines, constraints)
    named = {canonical(line) for line in lines}
    conda_lines = [line for line in map(from_conda, packages) if line and canonical(line) not in named]
    return ModelRequirements(folder, python_of(mlmodel, packages), (*lines, *conda_lines), tuple(constraints))


def read_lines(
    text: str,
    folder: Path,
    lines: list[str],
    constraints: list[str],
    depth: int = 0,
    done: set[tuple[bool, Path]] | None = None,
) -> None:
    """Adds the lines of a file, and those of the files that it includes: of each one once in each of the lists."""
    done = set() if done is None else done
    for line in logical_lines(text):
        included = INCLUDE.fullmatch(line)
        if included is None:
            lines.append(line)
            continue
        file = (folder / included["file"].strip()).resolve()
        if not file.is_relative_to(folder.resolve()) or depth > 5:
            raise RequirementsError(f"{REQUIREMENTS}: {line!r} leads out of the model folder or includes itself")
        constrains = lines is constraints or (included["short"] or included["long"]).startswith("c")
        if (constrains, file) not in done:
            read_lines(read_text(file), folder, constraints if constrains else lines, constraints, depth + 1, done)
            done.add((constrains, file))


def read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequirementsError(f"{file.name} cannot be read ({type(error).__name__})") from None


def logical_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").replace("\\\r\n", " ").splitlines():
        stripped = COMMENT.sub("", line).strip()
        if stripped:
            yield stripped


def canonical(text: str) -> str:
    """The name at the start of a requirement, as package indexes compare names."""
    match = NAME.match(text)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""


def from_conda(spec: Any) -> str | None:
    """A package of conda.yaml as a requirement; None if it is no Python package."""
    match = CONDA_SPEC.fullmatch(spec.strip()) if isinstance(spec, str) else None
    if match is None or NOT_PYTHON.fullmatch(match["name"].lower()):
        return None
    name = CONDA_NAMES.get(match["name"].lower(), match["name"])
    return name + conda_version(match["spec"] or "")


def conda_version(spec: str) -> str:
    """A conda version as a specifier: `=1.2` means 1.2.*, and a third part names a build."""
    text = spec.strip()
    if not text or text.startswith("["):
        return ""
    if text[0] in "<>!~" or text.startswith("=="):
        return re.sub(r"^(==[^=,\s]+)=.*", r"\1", text).replace(" ", "")
    version = re.split(r"[=\s]", text.lstrip("= "))[0]
    return f"=={version}" if version.endswith("*") or "," in version else f"=={version}.*"


def python_of(mlmodel: MLmodel, conda_packages: list[Any]) -> str | None:
    version = read_yaml(mlmodel.path / PYTHON_ENV).get("python")
    if version is None:
        specs = (spec for spec in conda_packages if isinstance(spec, str))
        version = next((m["spec"] for m in map(CONDA_SPEC.fullmatch, specs) if m and m["name"] == "python"), None)
    if not isinstance(version, (str, float, int)):  # others may be huge, as YAML's aliases multiply them
        version = None
    return str(version or mlmodel.pyfunc.get("python_version") or "").strip(" =") or None


def read_yaml(file: Path) -> Mapping[str, Any]:
    try:
        content = load_yaml(file)
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise RequirementsError(f"{file.name} cannot be read: {str(error).splitlines()[0]}") from None
    return content if isinstance(content, Mapping) else {}
