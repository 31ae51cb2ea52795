"""Little is left to the garbage collector: it looks through no modules and models; failed requests leave nothing."""

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


def freeze(*, again: bool = False) -> None:
    """Exempts everything that is loaded now from collections.

    They would take a third of the time of a small request, and make workers copy memory that they share. `again`:
    something that was frozen is gone, so that it is collected first.
    """
    if again:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def forget_frames(error: BaseException) -> None:
    """Unlinks an error that has been reported from its frames and causes.

    They hold the body of the request, in reference cycles, and would keep it until the garbage collector comes by.
    """
    causes = (error.__cause__, error.__context__)
    error.__traceback__ = error.__cause__ = error.__context__ = None
    for cause in causes:
        if cause is not None:
            forget_frames(cause)
