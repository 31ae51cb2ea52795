"""Imports Feast without its changes to the environment and without typeguard.

Feast sets environment variables for its own metrics: every server started from such a process would share its metrics
with all others. It also has typeguard rewrite its classes to check every argument, which takes more than half of its
import time; the contents of a registry were checked when they were applied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from typing import Any

FEAST_VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
importing = Lock()


def feast() -> Any:
    """The package `feast`; raises ImportError if it is not installed."""
    with importing, environment_restored(), typeguard_disabled():
        import_module("prometheus_client")  # at its import it decides by these variables where metrics are stored
        return import_module("feast")


@contextmanager
def environment_restored() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in FEAST_VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def typeguard_disabled() -> Iterator[None]:
    """Inside, typeguard leaves new classes unchanged."""
    try:
        typeguard: Any = import_module("typeguard")
    except ImportError:
        yield
        return
    before = typeguard.typechecked
    typeguard.typechecked = unchanged
    try:
        yield
    finally:
        typeguard.typechecked = before


def unchanged(target: Any = None, **_: Any) -> Any:
    """Replaces a decorator that is used with or without arguments."""
    return unchanged if target is None else target
