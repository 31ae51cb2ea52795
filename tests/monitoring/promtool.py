"""Prometheus' own judge of rules and configurations."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def promtool(*words: str | Path) -> str:
    """What it says; fails with its words if it finds something wrong."""
    assert shutil.which("promtool"), "promtool is missing: apt-get install prometheus"
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
