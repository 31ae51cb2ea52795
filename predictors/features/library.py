"""Feast itself, imported without what it leaves behind and without what takes longest.

It sets variables of the environment for metrics of its own: every server that is started from such a process would keep
its metrics in one place with all others. And it has typeguard write its classes anew with checks of every argument,
which is more than half of the time that its import takes; what a registry holds has been checked when it was applied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from typing import Any

SET_BY_FEAST = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
importing = Lock()


def feast() -> Any:
    """The package; raises ImportError where it is not installed."""
    with importing, kept_environment(), unchecked():
        import_module("prometheus_client")  # it decides by those variables how it keeps numbers
        return import_module("feast")


@contextmanager
def kept_environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in SET_BY_FEAST}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def unchecked() -> Iterator[None]:
    """Classes that are made in the meantime are left as they are by typeguard."""
    try:
        typeguard: Any = import_module("typeguard")
    except ImportError:
        yield
        return
    before = typeguard.typechecked
    typeguard.typechecked = as_it_is
    try:
        yield
    finally:
        typeguard.typechecked = before


def as_it_is(target: Any = None, **_: Any) -> Any:
    """Stands for a decorator that is used with or without arguments."""
    return as_it_is if target is None else target
