"""What a launcher hands over to the server that it starts in a model's environment, and how they talk.

The launcher keeps the ports and stays as the parent process. Over a socket, with one line of JSON per message, the
server reports that it is ready or why it is not, and asks for another server when a new version of the model needs
another environment.
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
        """Sends nothing if the other end is gone: a sender that waits for a reply sees that itself."""
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
        """Waits for the next message, or for the end of the channel, and leaves it unread."""
        select.select([self.socket], [], [], seconds)

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@dataclass(frozen=True)
class Handover:
    """In a server: what its launcher handed over."""

    source: Source
    """The model, resolved and downloaded."""
    sockets: tuple[socket.socket, ...]
    """Bound and listening: HTTP, and gRPC if it is served."""
    takes_over: bool
    """Whether another server answers until this one can: it must not listen before."""
    channel: Channel
    lock: threading.Lock
    """Held from a request to its reply."""

    def report_ready(self) -> None:
        self.channel.send(ready=True)

    def report_failure(self, reason: str) -> None:
        self.channel.send(failed=reason)

    def allow_stop(self) -> None:
        """Tells the launcher that it may stop this server: its callers know that another one has taken over."""
        self.channel.send(told=True)

    def replace(self, source: Source) -> bool:
        """Has another server take over with this model, in the environment that the model needs.

        True: the other server answers already, and the launcher stops this one once it has called `allow_stop`.
        False: the model needs the environment that this server runs in, so it can be loaded here. Raises
        `ReplaceError` if neither is possible; then nothing has changed. It takes as long as building the environment
        and loading the model: not for the event loop. If another server takes over, a model that this one downloaded
        is moved to where the other one keeps it.
        """
        with self.lock:
            self.channel.send(replace=source_as_json(source))
            reply = self.channel.receive()
        if reply is None:
            raise ReplaceError("the launcher is gone")
        if "error" in reply:
            raise ReplaceError(str(reply["error"]))
        return bool(reply["replaced"])


@cache
def receive_handover() -> Handover | None:
    """What was handed over to this process; None without a launcher."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    end_with_parent()
    fields = json.loads(text)
    tempfile.tempdir = fields["folder"]  # the launcher removes it, however this process ends
    sockets = tuple(socket.socket(fileno=number) for number in fields["sockets"])
    channel = socket.socket(fileno=fields["channel"])
    for each in (*sockets, channel):
        each.set_inheritable(False)  # forked workers have them all the same
    source = source_from_json(fields["source"])
    return Handover(source, sockets, fields["takes_over"], Channel(channel), threading.Lock())


def first_source(settings: SourceSettings, note: Callable[[str], None], folder: Path) -> Source:
    """The model to start with: the one that the launcher fetched, else the one that the settings name."""
    handover = receive_handover()
    return handover.source if handover is not None else resolve(settings, note, folder)


def source_as_json(source: Source) -> dict[str, Any]:
    return {**asdict(source), "path": str(source.path.absolute())}


def source_from_json(fields: dict[str, Any]) -> Source:
    return replace(Source(**fields), path=Path(fields["path"]))
