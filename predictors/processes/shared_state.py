"""What the worker processes of one server know of each other: numbers and texts in shared memory, and a folder."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
import time
from pathlib import Path

from predictors.processes.commands import Commands
from predictors.processes.shared_memory import Text, in_shared_memory
from predictors.processes.sources import Sources


class ModelNumbers(ctypes.Structure):
    """Which models are served: each that is loaded gets the next number, from 1 on. Every request reads `served`.

    A model with a candidate beside it is served under a number of its own, that of the pairing.
    """

    _fields_ = (
        ("served", ctypes.c_int64),  # answers requests; 0 for none; it changes for all workers at the same moment
        ("previous", ctypes.c_int64),  # answered before, and is kept unless it was unloaded; 0 for none
        ("proposed", ctypes.c_int64),  # is to be loaded by every worker beside the served one; 0 for none
        ("newest", ctypes.c_int64),  # the number that was given last
        ("unloads", ctypes.c_int64),  # how often the model was unloaded
    )
    __slots__ = ()


class WorkerState(ctypes.Structure):
    """One worker, for the others."""

    _fields_ = (
        ("ready", ctypes.c_bool),
        ("vote", ctypes.c_int64),  # what it has loaded of what was proposed; negative if it could not
        ("previous", ctypes.c_int64),  # the previous model's number, if the worker still holds it
        ("ends", ctypes.c_int64),  # how often this worker's process has ended
        ("heartbeat", ctypes.c_double),  # when its event loop last ran
    )
    __slots__ = ()


class Startup(ctypes.Structure):
    """How far the start is."""

    _fields_ = (
        ("responding", ctypes.c_bool),  # whether the startup responder may still answer
        ("complete", ctypes.c_bool),  # whether all workers have been ready together
        ("status_bytes", Text.field),
    )
    __slots__ = ()
    status = Text()
    """What one process does that loads for all workers."""


class ReloadState(ctypes.Structure):
    """What the leader tries and what has failed, for the next one if this one ends; and the last attempt in words."""

    _fields_ = (
        ("trying_bytes", Text.field),
        ("failed_bytes", Text.field),
        ("tries", ctypes.c_int64),  # how often the version in `failed` has been tried
        ("retry_at", ctypes.c_double),  # on the monotonic clock: when it may be tried again
        ("failing", ctypes.c_bool),  # whether the version that should be served is another one than is served
        ("left_bytes", Text.field),
        ("status_bytes", Text.field),
    )
    __slots__ = ()
    trying = Text()
    """The version that is being loaded because the model URI names it."""
    failed = Text()
    """The version that could not be served, of those that the model URI has named."""
    left = Text()
    """The version that somebody reverted from."""
    status = Text()


class SharedState:
    """Made before the workers are forked. Every request reads from it, so the numbers are plain memory."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.numbers = in_shared_memory(ModelNumbers)
        self.numbers.served = self.numbers.newest = 1
        self.startup = in_shared_memory(Startup)
        self.reload = in_shared_memory(ReloadState)
        self.candidate = in_shared_memory(ReloadState)
        """The same for the candidate."""
        self.worker_states = in_shared_memory(WorkerState * workers)
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-kserve-"))
        """Removed with the first process."""
        self.sources = Sources(self.folder)
        self.commands = Commands(self.folder)
        self.lifeline: int | None = None
        """In a worker: a pipe that is closed when the process ends that forked it."""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def set_ready(self, index: int) -> None:
        self.worker_states[index].ready = True
        if all(worker.ready for worker in self.worker_states):
            self.startup.complete = True

    def all_ready(self) -> bool:
        """Whether the start is over; a worker that is replaced later does not make the others unready."""
        return bool(self.startup.complete and not self.startup.responding)

    def heartbeat(self, index: int) -> None:
        self.worker_states[index].heartbeat = time.monotonic()

    def worker_ended(self, index: int) -> None:
        """What this worker had loaded is gone with it."""
        worker = self.worker_states[index]
        worker.ready, worker.vote, worker.previous = False, 0, 0
        worker.ends += 1
