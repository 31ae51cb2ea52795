"""Python's garbage collector and what stays: it is held while modules and models are read, and skips them then."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def settle(*, again: bool = False) -> None:
    """What is loaded stays: looking through it again and again would take a third of a small request, and make
    workers copy the memory that they share. `again`: something settled before goes now.
    """
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
