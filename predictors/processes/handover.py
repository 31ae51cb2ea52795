"""What a launcher hands to the server that it starts in a model's environment, and how the two speak.

The launcher keeps the ports and stays as the parent process. Over a socket, one line of JSON a message, the server says
that it is ready or why it is not, and asks for another server when a new version needs another environment.
"""

from __future__ import annotations

import json
import os
import select
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from predictors.processes.forking import end_with_parent
from predictors.storage.settings import SourceSettings
from predictors.storage.source import Source, resolve

VARIABLE = "MLFLOW_KSERVE_HANDOVER"


class ReplaceError(Exception):
    """No other server could take over; the message is one line for the operator."""


class Channel:
    """One end of the socket between launcher and server."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.lines = opened.makefile("r", encoding="utf-8")

    def send(self, **message: Any) -> None:
        """A message to an end that is gone is nobody's loss: whoever waits for an answer sees that it is gone."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is gone."""
        try:
            line = self.lines.readline()
        except ConnectionResetError:
            return None
        return dict(json.loads(line)) if line.endswith("\n") else None

    def wait(self, seconds: float) -> None:
        """For whatever comes next, which is not taken."""
        select.select([self.socket], [], [], seconds)

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@dataclass(frozen=True)
class Handover:
    """In a server: what its launcher gave it."""

    source: Source
    """The model, resolved and downloaded."""
    sockets: tuple[socket.socket, ...]
    """Bound and listening: HTTP, and gRPC if it is served."""
    takes_over: bool
    """Whether another server answers until this one can: it must not listen before."""
    door: Channel
    asking: threading.Lock

    def say_ready(self) -> None:
        self.door.send(ready=True)

    def say_failed(self, reason: str) -> None:
        self.door.send(failed=reason)

    def leave(self) -> None:
        """After another server has taken over, and whoever asked for it knows: this one may be told to end."""
        self.door.send(told=True)

    def replace(self, source: Source) -> bool:
        """Has another server take over with this model, in the environment that it needs.

        True: it answers already, and this one is told to end once it has called `leave`. False: the model needs the
        environment that this server runs in, so it can be loaded here. Raises `ReplaceError`, after which all is as
        before. It takes as long as building the environment and loading the model: not for the event loop. A model that
        this server downloaded is moved out of its reach once another one gets it.
        """
        with self.asking:
            self.door.send(replace=source_as_json(source))
            answer = self.door.receive()
        if answer is None:
            raise ReplaceError("the launcher is gone")
        if "error" in answer:
            raise ReplaceError(str(answer["error"]))
        return bool(answer["replaced"])


@cache
def launched() -> Handover | None:
    """What was handed over to this process; None without a launcher."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    end_with_parent()
    given = json.loads(text)
    tempfile.tempdir = given["folder"]  # it goes with the launcher, whatever becomes of this process
    sockets = tuple(socket.socket(fileno=number) for number in given["sockets"])
    door = socket.socket(fileno=given["door"])
    for one in (*sockets, door):
        one.set_inheritable(False)  # forked workers have them all the same
    source = source_from_json(given["source"])
    return Handover(source, sockets, given["takes_over"], Channel(door), threading.Lock())


def first_source(settings: SourceSettings, note: Callable[[str], None], folder: Path) -> Source:
    """The model to start with: the one that the launcher fetched, else what the settings ask for."""
    given = launched()
    return given.source if given is not None else resolve(settings, note, folder)


def source_as_json(source: Source) -> dict[str, Any]:
    return {**asdict(source), "path": str(source.path.absolute())}


def source_from_json(given: dict[str, Any]) -> Source:
    return replace(Source(**given), path=Path(given["path"]))
