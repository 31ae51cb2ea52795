"""Commands from any worker to the one that leads, carried out one after the other.

They are `load`, `revert`, `poll`, and those about the candidate.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

from predictors.processes.files import locked, write
from predictors.processes.shared_memory import in_shared_memory

PUT_CANDIDATE = "candidate"  # and what is wanted of it, as JSON
REMOVE_CANDIDATE = "no candidate"
PROMOTE = "promote"
MAX_RESULTS = 100  # results that nobody has read yet


class CommandNumbers(ctypes.Structure):
    """Commands are numbered from 1; these are the numbers of the last ones."""

    _fields_ = (
        ("sent", ctypes.c_int64),
        ("begun", ctypes.c_int64),
        ("done", ctypes.c_int64),
    )
    __slots__ = ()


class Commands:
    """A queue: every worker sends to it, and the leader takes from it. Commands and results are files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = in_shared_memory(CommandNumbers)

    # -- for the worker that sends ------------------------------------------------------------------------------

    def send(self, command: str) -> int:
        """The command's number, by which its result is known."""
        with locked(self.folder, "commands"):
            number = int(self.last.sent) + 1
            write(self.command_file(number), command.encode())
            self.last.sent = number
        return number

    def result(self, number: int) -> dict[str, Any] | None:
        """The result of a command, which can be read once; None while it is not done."""
        if self.last.done < number:
            return None
        path = self.result_file(number)
        result: dict[str, Any] = json.loads(path.read_bytes())
        path.unlink()
        return result

    # -- for the leader -----------------------------------------------------------------------------------------

    def next(self) -> str | None:
        """The oldest command that is not done."""
        return None if self.last.done >= self.last.sent else self.command_file(self.last.done + 1).read_text()

    def pending(self) -> list[str]:
        """All commands that are not done, the oldest first."""
        numbers = range(self.last.done + 1, self.last.sent + 1)
        return [self.command_file(number).read_text() for number in numbers]

    def begin(self) -> None:
        """Marks the next command as begun, so that the next leader knows if this one ends over it."""
        self.last.begun = self.last.done + 1

    @property
    def interrupted(self) -> bool:
        """Whether a command was begun and is not done."""
        return bool(self.last.begun > self.last.done)

    def finish(self, result: dict[str, Any]) -> None:
        """The result of the next command, for the worker that sent it."""
        number = int(self.last.done) + 1
        try:
            write(self.result_file(number), json.dumps(result).encode())
            self.command_file(number).unlink()
            self.result_file(number - MAX_RESULTS).unlink(missing_ok=True)
        finally:
            self.last.done = number  # also when the disk is full: it is not carried out again

    # -- files --------------------------------------------------------------------------------------------------

    def command_file(self, number: int) -> Path:
        return self.folder / f"command-{number}"

    def result_file(self, number: int) -> Path:
        return self.folder / f"result-{number}"
