"""Helm, where it is: on PATH, or built from its Go module by `make helm`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.parts.programs import build, go_version, program

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
HELM = shutil.which("helm") or (str(program("helm", "helm")) if program("helm", "helm").exists() else None)
Documents = dict[str, dict[str, Any]]


class HelmFailed(Exception):
    """Helm ended with an error, which the message has."""


@cache
def path() -> str:
    if HELM is None:
        pytest.skip("helm is neither on PATH nor built: make helm")
    return HELM


def helm(*words: str) -> str:
    done = subprocess.run([path(), *words], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise HelmFailed(done.stdout + done.stderr)
    return done.stdout


def template(chart: str, release: str, namespace: str, values: Path) -> Documents:
    """The documents by kind and name."""
    text = helm("template", release, str(CHARTS / chart), "--namespace", namespace, "--values", str(values))
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(text) if each}


if __name__ == "__main__":
    if not go_version():
        sys.exit("Helm is built with Go, and there is none on PATH or in /usr/local/go")
    build(["helm"], print)
