"""Records of processes on disk: what was about to be started, and what was."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from controlplane.backends.backend import Key


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process of a revision; written before it is started, and again with its pid."""

    revision: int
    http_port: int
    grpc_port: int
    started_at: float
    starts: int
    """How often it was started in a row."""
    pid: int | None = None
    created: float | None = None
    """When the system says that the process began: a pid alone may be another process by now."""
    stopping_until: float | None = None
    """When a process that drains is ended."""


class ProcessRecords:
    """A folder for each serve in an environment, a file for each revision."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: Key, revision: int) -> Path:
        return self.folder / key.env / key.serve / f"{revision}.json"

    def log_file(self, key: Key, revision: int) -> Path:
        return self.folder / key.env / key.serve / f"{revision}.log"

    def kept(self) -> list[Key]:
        """Those that something is kept of, if only logs."""
        return sorted(Key(folder.parent.name, folder.name) for folder in self.folder.glob("*/*"))

    def known(self) -> list[Key]:
        """Those with a process."""
        return sorted({Key(file.parent.parent.name, file.parent.name) for file in self.folder.glob("*/*/*.json")})

    def of(self, key: Key) -> list[ProcessRecord]:
        """The records of a key, the oldest revision first."""
        files = (self.folder / key.env / key.serve).glob("*.json")
        records = [record for file in files if (record := read(file)) is not None]
        return sorted(records, key=lambda record: record.revision)

    def get(self, key: Key, revision: int) -> ProcessRecord | None:
        return read(self.path(key, revision))

    def write(self, key: Key, record: ProcessRecord) -> None:
        path = self.path(key, record.revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, asdict(record))

    def remove(self, key: Key, revision: int) -> None:
        self.path(key, revision).unlink(missing_ok=True)

    def remove_all(self, key: Key) -> None:
        """Records and logs."""
        shutil.rmtree(self.folder / key.env / key.serve, ignore_errors=True)


def read(path: Path) -> ProcessRecord | None:
    try:
        return ProcessRecord(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None


def write_whole(path: Path, content: Any) -> None:
    """Replaces a file with all of its new content, also through a crash."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
