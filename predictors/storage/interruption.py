"""Unfinished downloads are removed when the process is stopped by a signal, or when the download fails."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from predictors.storage.output_folder import PLACING

log = logging.getLogger("predictors.storage")

REMOVAL_ATTEMPTS = 20
unfinished: set[Path] = set()
"""Folders that a signal has to remove."""


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """A signal handler. It ends the process at once rather than wait for download threads, which go on writing for a
    moment: hence several attempts to remove their folders."""
    log.warning("stopped by %s", signal.Signals(number).name)
    for child in multiprocessing.active_children():
        child.terminate()
    for folder in list(unfinished):
        for _ in range(REMOVAL_ATTEMPTS):
            discard(folder)
            if not folder.exists():
                break
    os._exit(128 + number)


def discard(folder: Path) -> None:
    """Keeps a folder that lists the names being put in place: the next run needs the list to clean up."""
    if not (folder / PLACING).exists():
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def removed_unless_finished(folder: Path) -> Iterator[None]:
    unfinished.add(folder)
    try:
        yield
    except BaseException:
        discard(folder)
        raise
    finally:
        unfinished.discard(folder)
