"""Programs that are built from Go modules. What a go.mod names as its tools is built, once for each go.mod and go.sum."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tests.cluster.parts.places import MODULES, PROGRAMS

GO = shutil.which("go", path=f"{os.environ['PATH']}{os.pathsep}/usr/local/go/bin") or "go"
ENV = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
OLDEST_GO = (1, 26)
MINUTES = {"etcd": 1.5, "kubernetes": 9, "kserve": 4, "gateway": 6, "knative": 3.5}
"""What a first build takes on two cores."""


class BuildFailed(Exception):
    """Go could not build a program."""


def go_version() -> tuple[int, ...]:
    """That of the Go which is there, and not of one that it would download; empty if there is none."""
    try:
        said = subprocess.run(
            [GO, "env", "GOVERSION"], env={**ENV, "GOTOOLCHAIN": "local"}, capture_output=True, text=True
        )
    except FileNotFoundError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", said.stdout)[:2])


def go(*words: str, module: str) -> str:
    done = subprocess.run([GO, *words], cwd=MODULES / module, env=ENV, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"go {' '.join(words[:2])} failed in {MODULES / module}:\n{done.stderr[-4000:]}")
    return done.stdout


@cache
def requirement(module: str) -> dict[str, Any]:
    """What the go.mod says."""
    said: dict[str, Any] = json.loads(go("mod", "edit", "-json", module=module))
    return said


def version(module: str, path: str) -> str:
    """The version of a module that a go.mod requires."""
    return next(str(one["Version"]) for one in requirement(module)["Require"] if one["Path"] == path)


@cache
def folder(module: str, path: str) -> Path:
    """Where the files of a required module lie; they are downloaded if they are not there."""
    return Path(json.loads(go("mod", "download", "-json", path, module=module))["Dir"])


def program(module: str, name: str) -> Path:
    return PROGRAMS / module / name


def fingerprint(module: str) -> str:
    files = sorted(path for path in (MODULES / module).iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def stamp(module: str) -> Path:
    return PROGRAMS / module / ".built"


def unbuilt(modules: Iterable[str]) -> list[str]:
    return [one for one in modules if not stamp(one).exists() or stamp(one).read_text() != fingerprint(one)]


def build(modules: Iterable[str], say: Callable[[str], None]) -> None:
    for number, module in enumerate(remaining := unbuilt(modules), 1):
        began = time.monotonic()
        usual = f", about {MINUTES[module]:g} min the first time" if module in MINUTES else ""
        say(f"[{number}/{len(remaining)}] building {module}{usual}")
        _build(module)
        say(f"[{number}/{len(remaining)}] {module}: {time.monotonic() - began:.0f} s")


def _build(module: str) -> None:
    target = PROGRAMS / module
    target.mkdir(parents=True, exist_ok=True)
    packages = [tool["Path"] for tool in requirement(module).get("Tool") or []]
    if (MODULES / module / "main.go").exists():
        packages.append(".")
    if not packages:  # a module whose YAML alone is needed
        go("mod", "download", *(one["Path"] for one in requirement(module)["Require"]), module=module)
        stamp(module).write_text(fingerprint(module))
        return
    flags = ["-s", "-w"]
    if module == "kubernetes":  # what the API server says of itself
        flags += ["-X", f"k8s.io/component-base/version.gitVersion={version(module, 'k8s.io/kubernetes')}"]
    go("build", "-trimpath", "-ldflags", " ".join(flags), "-o", f"{target}/", *packages, module=module)
    stamp(module).write_text(fingerprint(module))
