"""What the worker processes of one server know of each other: some numbers in shared memory, and a folder."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

from predictors.storage.registry import DOWNLOAD_PREFIX
from predictors.storage.source import Source


class Number:
    """One of the shared numbers."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __get__(self, shared: Shared, owner: type[Shared]) -> int:
        return int(shared.numbers[self.index])

    def __set__(self, shared: Shared, value: int) -> None:
        shared.numbers[self.index] = value


class Text:
    """A short text that all processes see."""

    def __set_name__(self, owner: type[Shared], name: str) -> None:
        self.name = f"{name}_bytes"

    def __get__(self, shared: Shared, owner: type[Shared]) -> str:
        return bytes(getattr(shared, self.name).value).decode(errors="ignore")

    def __set__(self, shared: Shared, text: str) -> None:
        getattr(shared, self.name).value = text.encode()[:1000]


class Shared:
    """Made before the workers are forked; read on every request, so the numbers are plain memory.

    Editions are the models that were loaded one after the other, counted from 1.
    """

    edition = Number(0)
    """The one that answers, 0 for none; it changes for all workers at the same moment."""
    previous = Number(1)
    """The one that answered before; it is kept, unless it was unloaded. 0 where there is none."""
    candidate = Number(2)
    """The one that every worker is to load beside it; 0 where there is none."""
    asked = Number(3)
    """How many requests there were to change what is served; `done` have been dealt with."""
    done = Number(4)
    greeted = Number(5)
    """Whether another process than the workers may answer yet."""
    complete = Number(6)
    """Whether all workers were ready at some time."""
    newest = Number(7)
    """The edition that was begun last."""
    unloads = Number(8)
    """How often the model was unloaded."""
    begun = Number(9)
    """The request that was begun last, of those counted in `asked`."""
    tries = Number(10)
    """How often the version in `trying` was tried."""
    trying = Text()
    """The version that is being loaded because the URI names it; it stays here if that ends the process."""
    left = Text()
    """The version that somebody went back from."""
    status = Text()
    """How far loading is, where one process loads for all."""
    reload_status = Text()
    """What became of the last attempt to change what is served, where there was one."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.numbers: Any = RawArray("q", 11)
        self.ready: Any = RawArray("b", workers)
        self.votes: Any = RawArray("q", workers)
        """By worker: the candidate that it has loaded, or failed to load if negative."""
        self.ends: Any = RawArray("q", workers)
        """By worker: how often it has ended."""
        self.holds: Any = RawArray("q", workers)
        """By worker: `previous`, if it has that edition."""
        self.beats: Any = RawArray("d", workers)
        """By worker: when its event loop was last seen at work."""
        self.status_bytes: Any = RawArray("c", 1024)
        self.reload_status_bytes: Any = RawArray("c", 1024)
        self.left_bytes: Any = RawArray("c", 1024)
        self.trying_bytes: Any = RawArray("c", 1024)
        self.edition = self.newest = 1
        self.folder = Path(tempfile.mkdtemp(prefix="mlflow-kserve-"))
        """For what is downloaded; it goes with the first process."""
        self.lifeline: int | None = None
        """In a worker: a pipe that ends when the process that forked it does."""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- readiness ----------------------------------------------------------------------------------------------

    def set_ready(self, index: int, ready: bool) -> None:
        self.ready[index] = int(ready)
        if ready and all(self.ready):
            self.complete = 1

    def absent(self, index: int) -> None:
        """This worker has ended, and what it had loaded is gone."""
        self.ready[index] = self.votes[index] = self.holds[index] = 0
        self.ends[index] += 1

    def all_ready(self) -> bool:
        """Whether the server has begun; one worker that is replaced later does not matter to the others."""
        return bool(self.complete) and not self.greeted

    def beat(self, index: int) -> None:
        self.beats[index] = time.monotonic()

    # -- editions -----------------------------------------------------------------------------------------------

    def once(self, find: Callable[[], Source]) -> Source:
        """The first source, resolved and downloaded by the first worker that comes, for all of them."""
        with self.locked("fetching"):
            if not self.kept(1).exists():
                self.keep(1, find())
        return self.source(1)

    def kept(self, edition: int) -> Path:
        return self.folder / f"edition-{edition}"

    def editions(self) -> list[int]:
        """Those that are kept."""
        return [int(one.name.partition("-")[2]) for one in self.folder.glob("edition-*")]

    def keep(self, edition: int, source: Source) -> None:
        write(self.kept(edition), pickle.dumps(source))

    def source(self, edition: int) -> Source:
        source: Source = pickle.loads(self.kept(edition).read_bytes())  # noqa: S301 - our own file, in our own folder
        return source

    def forget(self, edition: int) -> None:
        """Nobody will want it any more; what was downloaded for it alone goes with it."""
        try:
            source = self.source(edition)
        except FileNotFoundError:
            return
        self.kept(edition).unlink()
        others = {self.source(one).path for one in self.editions()}
        if self.folder in source.path.parents and source.path not in others:
            downloaded = source.path.relative_to(self.folder).parts[0]
            if not any(self.folder / downloaded in other.parents for other in others):
                shutil.rmtree(self.folder / downloaded, ignore_errors=True)

    def forget_others(self) -> None:
        """All but the editions that may be wanted."""
        for one in self.editions():
            if one not in (self.edition, self.previous):
                self.forget(one)

    def tidy(self) -> None:
        """The same, and forgets what the process that led before was downloading."""
        self.forget_others()
        wanted = [self.source(one).path for one in self.editions()]
        for downloaded in self.folder.glob(f"{DOWNLOAD_PREFIX}*"):
            if not any(downloaded in (path, *path.parents) for path in wanted):
                shutil.rmtree(downloaded, ignore_errors=True)

    # -- requests from one worker to the one that leads ---------------------------------------------------------

    def ask(self, command: str) -> int:
        with self.locked("asking"):  # not the lock under which the first model is downloaded
            number = self.asked + 1
            write(self.folder / f"asked-{number}", command.encode())
            self.asked = number
        return number

    def next_command(self) -> str | None:
        if self.done >= self.asked:
            return None
        return (self.folder / f"asked-{self.done + 1}").read_text()

    def commands(self) -> list[str]:
        """All that are not dealt with yet."""
        numbers = range(self.done + 1, self.asked + 1)
        return [(self.folder / f"asked-{number}").read_text() for number in numbers]

    def answer(self, answer: dict[str, Any]) -> None:
        number = self.done + 1
        try:
            write(self.folder / f"answer-{number}", json.dumps(answer).encode())
            (self.folder / f"asked-{number}").unlink()
            (self.folder / f"answer-{number - 100}").unlink(missing_ok=True)  # nobody came for it
        finally:
            self.done = number  # it is not to be done again, also where the disk is full

    def answer_to(self, number: int) -> dict[str, Any] | None:
        if self.done < number:
            return None
        path = self.folder / f"answer-{number}"
        answer: dict[str, Any] = json.loads(path.read_bytes())
        path.unlink()
        return answer

    # -- files --------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        with (self.folder / f".{name}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_bytes(content)
    made.rename(path)
