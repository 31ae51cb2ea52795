"""A new version is loaded in a process of its own first: one that crashes or hangs ends that process, and nothing else.

The process is a fresh interpreter. A fork would cost less, but the server has threads: a fork takes none of them along,
and OpenMP, PyTorch and TensorFlow would wait for theirs. The trial is about crashes and hangs: a model that raises
does so again when the server loads it. What only the trial cannot do, such as to get a GPU, is no reason to refuse it.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.loading import too_slow
from predictors.model.open_model import model_class
from predictors.reload.trial_process import CRASH_FILE, ENDED, STAGE_FILE
from predictors.runtime import package_name
from predictors.telemetry.metrics import MULTIPROCESS_DIR

log = logging.getLogger("predictors")

MODULE = "predictors.reload.trial_process"
IMPORT_SECONDS = 60.0  # for the process to begin, on a busy machine
CHECK_INTERVAL = 0.1  # seconds
NOT_PICKLABLE = (pickle.PicklingError, TypeError, AttributeError)


class Trial:
    """A process that loads a model."""

    def __init__(self, model: MLflowModel, log_format: str, folder: Path) -> None:
        self.killed = False
        self.folder = Path(tempfile.mkdtemp(prefix="trial-", dir=folder))
        environ = {name: value for name, value in os.environ.items() if name != MULTIPROCESS_DIR}
        folders = [
            str(package_name.ROOT),
            *filter(None, sys.path),
        ]  # ours first: a model may have its name
        environ |= {"TMPDIR": str(self.folder), "PYTHONPATH": os.pathsep.join(folders)}
        with tempfile.TemporaryFile(dir=self.folder) as task:
            task.write(pickled(model))
            task.seek(0)
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-P", "-m", MODULE, log_format, str(self.folder)],
                stdin=task, env=environ, process_group=0,
            )  # fmt: skip

    def wait(self, seconds: float) -> None:
        """Raises `LoadError` if the model ends its process, or is not loaded after so many seconds; 0 for any number.

        It blocks. Nothing is left afterwards of the process, of those that it has started, and of its files.
        """
        try:
            self.judge(seconds)
        finally:
            self.kill()
            self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """Ends the process, and whatever it has started."""
        self.killed = True
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def judge(self, seconds: float) -> None:
        code = self.exit_status(seconds)
        stage = self.read(STAGE_FILE)
        if stage == ENDED or self.killed:
            return
        if not stage and code >= 0:
            log.warning("it is loaded without a trial, whose process ended with status %d before it began", code)
            return
        if stack := self.read(CRASH_FILE):
            log.error("the trial crashed:\n%s", stack)
        raise LoadError(f"{how_it_ended(code)} while {stage or 'starting'}")

    def exit_status(self, seconds: float) -> int:
        """Of the process, which has so many seconds from the time on at which it begins to load."""
        since = time.monotonic() + IMPORT_SECONDS
        while True:
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(CHECK_INTERVAL)
            stage, now = self.read(STAGE_FILE), time.monotonic()
            if stage:
                since = min(since, now)
            if seconds and now > since + seconds:
                raise too_slow(seconds, stage or "starting")

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""


def how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with status {code}"
    if code == -signal.SIGKILL:
        return "its process was killed, as the kernel does when memory runs out,"
    return f"its process crashed ({signal.strsignal(-code)})"


def pickled(model: MLflowModel) -> bytes:
    """The model, not loaded yet; of its flavor's class if the other process cannot have its own."""
    if type(model).__module__ != "__main__":
        with suppress(*NOT_PICKLABLE):
            return package_name.dumps(model)
    return package_name.dumps(model_class(model.flavor)(model.name, model.source, settings=model.settings))
