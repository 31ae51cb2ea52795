"""Folders and cores of the benchmark."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).resolve().parent / "apps"
ENVIRONMENTS = ROOT / ".venv-peers"
PYTHON = Path(sys.executable)


@cache
def cores() -> tuple[int, int]:
    """The server's core and the load generator's; the same one twice on a machine with only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[1] if len(allowed) > 1 else allowed[0]


def stay_off_the_servers_core() -> None:
    """Pins this process to the load generator's core; each child is pinned to its own."""
    os.sched_setaffinity(0, {cores()[1]})
