"""Writes the lock files of the images, predictors/images/requirements: `make image-locks`.

One file for each image: the versions of constraints.txt, with the hashes of the wheels for Python 3.11 and 3.12 on
x86-64 Linux. A package without such a wheel is an error, because the images have no compiler.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from predictors.environments.installers import find_uv, uv_environment
from predictors.flavor import FAMILIES, FLAVORS, STORAGE

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "predictors" / "images" / "requirements"
EXCLUDED = REQUIREMENTS / "excluded.txt"
TORCH = REQUIREMENTS / "torch-cpu.txt"
BUILD = "build"
# Traces and tokens are an operator's choice, whatever the model.
COMMON_EXTRAS = ("otel", "jwt")
# Models of people's own code bring their own requirements: --env-manager=uv installs them.
EXTRAS_OF_FAMILY = {"onnx": ("uv",)}
# The same modules for CPUs alone; `predictors.environments.dependencies` knows them as the same.
STANDS_IN = {"boosting": {"xgboost-cpu": "xgboost"}}
CUDA = re.compile(r"(nvidia|cuda)-.*|triton")
HEADER = "# Written by `make image-locks`: edit pyproject.toml or constraints.txt instead.\n"
PYTHONS = ((3, 11), (3, 12))
MACHINE = "x86_64"  # psutil, which KServe bounds, has no wheels for others
GLIBC = 36  # Debian 12 has 2.36


class LockError(Exception):
    """An image cannot be locked; the message says which package is in the way."""


@dataclass(frozen=True)
class LockTarget:
    """A Python for which the lock files hold."""

    python: tuple[int, int]

    @property
    def environment(self) -> dict[str, str]:
        version = ".".join(map(str, self.python))
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": MACHINE,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{version}.9",
            "python_version": version,
            "sys_platform": "linux",
        }

    @property
    def tags(self) -> frozenset[Tag]:
        legacy = ("manylinux2014", "manylinux2010", "manylinux1", "linux")
        platforms = [f"{kind}_{MACHINE}" for kind in (*(f"manylinux_2_{n}" for n in range(GLIBC, 4, -1)), *legacy)]
        interpreter = f"cp{self.python[0]}{self.python[1]}"
        return frozenset(
            [*cpython_tags(self.python, platforms=platforms), *compatible_tags(self.python, interpreter, platforms)]
        )

    def __str__(self) -> str:
        return f"Python {self.python[0]}.{self.python[1]} on {MACHINE}"


TARGETS = {target: target.tags for target in map(LockTarget, PYTHONS)}


def extras_of(family: str) -> list[str]:
    """The extras of this distribution that a family of images holds."""
    own = [flavor.extra for flavor in FLAVORS if flavor.image == family]
    return [*own, *EXTRAS_OF_FAMILY.get(family, ()), *COMMON_EXTRAS]


def inputs_of(name: str, pins: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What is to be resolved for a lock file: arguments for uv, and lines besides."""
    if name == BUILD:
        return [], tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    if name == STORAGE:
        return [str(REQUIREMENTS / "storage.in")], []
    others = [f"{other}=={pins[known]}" for other, known in STANDS_IN.get(name, {}).items()]
    return ["pyproject.toml", *(f"--extra={extra}" for extra in extras_of(name))], others


def constraints() -> dict[str, str]:
    lines = (line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    return {name.lower().replace("_", "-"): version for name, version in lines}


def resolved(name: str) -> list[dict[str, Any]]:
    """The packages of a lock file, with all their wheels, as uv finds them on the configured index."""
    arguments, lines = inputs_of(name, constraints())
    with tempfile.TemporaryDirectory() as folder:
        more, out = Path(folder, "more.in"), Path(folder, "pylock.toml")
        more.write_text("\n".join(lines))
        command = [
            find_uv(), "pip", "compile", *arguments, str(more), "--universal", "--python-version", "3.11",
            "--constraints", "constraints.txt", "--excludes", str(EXCLUDED), "--format", "pylock.toml",
            "--output-file", str(out), "--quiet",
        ]  # fmt: skip
        environment = {**os.environ, **uv_environment(os.environ)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise LockError(f"{name}: {done.stderr.strip()}")
        packages: list[dict[str, Any]] = tomllib.loads(out.read_text())["packages"]
        return packages


def entry(package: Mapping[str, Any]) -> str | None:
    """The lines of one package, or None if no target wants it."""
    marker = Marker(package["marker"]) if "marker" in package else None
    wanting = [target for target in TARGETS if marker is None or marker.evaluate(target.environment)]
    if not wanting or CUDA.fullmatch(package["name"]):
        return None
    if package["name"] == "torch":
        return "".join(line for line in TORCH.read_text().splitlines(True) if not line.startswith("#")).rstrip()
    hashes: dict[str, None] = {}
    for target in wanting:
        fitting = list(wheels_for(package, TARGETS[target]))
        if not fitting:
            raise LockError(f"{package['name']} {package['version']} has no wheel for {target}")
        hashes |= dict.fromkeys(fitting)
    pinned = f"{package['name']}=={package['version']}" + ("" if len(wanting) == len(TARGETS) else f" ; {marker}")
    return " \\\n".join([pinned, *(f"    --hash=sha256:{one}" for one in sorted(hashes))])


def wheels_for(package: Mapping[str, Any], tags: frozenset[Tag]) -> Iterator[str]:
    """The hashes of the wheels that can be installed."""
    for wheel in package.get("wheels", ()):
        filename = wheel.get("name") or wheel["url"].rpartition("/")[2].replace("%2B", "+")
        if parse_wheel_filename(filename)[3] & tags:
            yield wheel["hashes"]["sha256"]


def main(names: Sequence[str]) -> None:
    for name in names or (*FAMILIES, STORAGE, BUILD):
        entries = filter(None, map(entry, resolved(name)))
        (REQUIREMENTS / f"{name}.txt").write_text(HEADER + "\n".join(entries) + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LockError as error:
        raise SystemExit(f"image-locks: {error}") from None
