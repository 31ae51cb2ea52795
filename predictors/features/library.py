"""Feast itself, imported without what it leaves behind.

It sets variables of the environment for metrics of its own: every server that is started from such a process would keep
its metrics in one place with all others.
"""

from __future__ import annotations

import os
from importlib import import_module
from threading import Lock
from typing import Any

SET_BY_FEAST = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
importing = Lock()


def feast() -> Any:
    """The package; raises ImportError where it is not installed."""
    with importing:
        before = {name: os.environ.get(name) for name in SET_BY_FEAST}
        try:
            return import_module("feast")
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
