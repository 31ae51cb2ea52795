"""The storage initializer as a process of its own, started from one that has MLflow imported already."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["predictors.storage", "mlflow.artifacts", "kserve_storage", "boto3"])


def initialize(arguments: list[str], env: Mapping[str, str], log: Path) -> None:
    from predictors.storage.__main__ import main

    os.environ.clear()
    os.environ.update(env)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    main(arguments)


@dataclass
class InitializerProcess:
    process: ForkServerProcess
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def wait(self) -> int:
        """Its exit code."""
        self.process.join(90)
        assert self.process.exitcode is not None, self.log
        return self.process.exitcode


def start(arguments: list[str], env: Mapping[str, str], log: Path) -> InitializerProcess:
    process = CONTEXT.Process(target=initialize, args=(arguments, dict(env), log))
    process.start()
    return InitializerProcess(process, log)
