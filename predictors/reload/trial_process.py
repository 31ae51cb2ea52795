"""The process of a trial: `python -m predictors.reload.trial_process FORMAT FOLDER`, with a pickled model on stdin.

It writes its stage into a file of the folder. When memory runs out, it goes before the server does.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from contextlib import suppress
from pathlib import Path

from predictors.processes.forking import end_with_parent
from predictors.runtime import package_name
from predictors.runtime.lazy_imports import defer_server_imports
from predictors.telemetry import logs

STAGE_FILE, CRASH_FILE = "stage", "crash"
ENDED = "ended"
"""The stage in which the model has been loaded, or has raised."""
KILLED_FIRST = "1000"


def main() -> None:
    log_format, folder = sys.argv[1], Path(sys.argv[2])
    sys.argv = sys.argv[:1]
    end_with_parent()
    be_killed_first()
    with (folder / CRASH_FILE).open("w") as crash_file:
        faulthandler.enable(crash_file)
        logs.configure(log_format, "critical")  # the server loads the model next, and writes the log lines about it
        defer_server_imports()
        stage = (folder / STAGE_FILE).write_text
        model = package_name.load(sys.stdin.buffer)
        model.status.listeners.append(stage)
        stage("starting to load it")
        with suppress(BaseException):  # the server will see what it raises
            model.load()
        stage(ENDED)
        os._exit(0)  # whatever threads there are


def be_killed_first() -> None:
    with suppress(OSError):  # there is none, or it may not be written
        Path("/proc/self/oom_score_adj").write_text(KILLED_FIRST)


if __name__ == "__main__":
    main()
