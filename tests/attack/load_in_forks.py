"""Loads models, each in a fork of this process, and prints the exit status of each fork and the error that it had.

The first models are whole: what is imported for them is imported here once, and not by each fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from predictors.flavor import BY_NAME, import_flavor, read_mlmodel
from predictors.model.open_model import open_model
from predictors.pipeline.settings import Settings
from predictors.storage.source import resolve

NOTHING = "it is loaded as if it were whole"


def load(folder: str) -> str:
    settings = Settings(model_name="model", model_uri=folder)
    try:
        open_model(settings, resolve(settings)).load()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def imported_for(folder: str) -> str:
    """The names of all modules, once the model is loaded."""
    load(folder)
    return "\n".join(sys.modules)


def in_fork(work: Callable[[str], str], folder: str) -> tuple[int, str]:
    """The exit status of the fork, and what the work says about the folder."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        with os.fdopen(writable, "w") as file:
            file.write(work(folder))
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as file:
        message = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), message


def import_for(whole: str) -> None:
    flavor = read_mlmodel(Path(whole)).detect().name
    for module in ("mlflow.pyfunc", *BY_NAME[flavor].modules):  # once, before the forks
        __import__(module)
    import_flavor(flavor)
    _, modules = in_fork(imported_for, whole)
    for module in modules.splitlines():
        with contextlib.suppress(Exception):  # some are made by others when these are imported
            __import__(module)


def main(*arguments: str) -> None:
    """The folders of whole models, `--`, and those of others."""
    whole, others = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    for folder in whole:
        import_for(folder)
    print(json.dumps({folder: in_fork(load, folder) for folder in others}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
