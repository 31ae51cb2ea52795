"""Loads models, each in a fork of this process, and prints the exit status of each fork and the error that it had."""

from __future__ import annotations

import json
import os
import sys
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


def load_in_fork(folder: str) -> tuple[int, str]:
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writable, load(folder).encode()[:4000])
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as file:
        message = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), message


def main(*folders: str) -> None:
    flavor = read_mlmodel(Path(folders[0])).detect().name
    for module in ("mlflow.pyfunc", *BY_NAME[flavor].modules):  # once, before the forks
        __import__(module)
    import_flavor(flavor)
    print(json.dumps({Path(folder).name: load_in_fork(folder) for folder in folders}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
