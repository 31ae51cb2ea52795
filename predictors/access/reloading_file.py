"""Files that are read again when they change, so that tokens, keys and certificates rotate without a restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakSet

from predictors.settings.declare import SettingError as SettingError  # callers of the checks catch it

log = logging.getLogger("predictors")
T = TypeVar("T")
State: TypeAlias = "tuple[tuple[int, ...], ...] | None"

CHECK_INTERVAL = 1.0  # seconds
followed: WeakSet[Any] = WeakSet()
"""What this process reads again on SIGHUP, changed or not."""


def read_all_again() -> None:
    for each in list(followed):
        each.read_again()


class UnusableFile(SettingError):
    """A file that cannot be used; the message says why and quotes nothing of its content."""


class ReloadingFile(Generic[T]):
    """The content of some files, as of the last time they were readable."""

    def __init__(self, paths: Sequence[str], setting: str, read: Callable[[], T]) -> None:
        self.paths = [Path(path) for path in paths]
        self.setting = setting
        self.read = read
        self.state = self.state_now()
        self.check_at = time.monotonic() + CHECK_INTERVAL
        self.value = self.read_all()
        followed.add(self)

    def current(self) -> T:
        """Reads the clock, and once a second the state of the files."""
        now = time.monotonic()
        if now >= self.check_at:
            self.check_at = now + CHECK_INTERVAL
            self.check()
        return self.value

    def check(self) -> None:
        if self.state_now() != self.state:
            self.read_again()

    def read_again(self) -> None:
        self.state = self.state_now()
        try:
            self.value = self.read_all()
        except UnusableFile as error:
            log.error("%s; its previous content stays in force", error)
        else:
            log.info("%s: read again", self.setting)

    def read_all(self) -> T:
        try:
            return self.read()
        except OSError as error:
            raise UnusableFile(
                f"{self.setting}: {error.filename or self.paths[0]}: {error.strerror or error}"
            ) from None
        except UnusableFile as error:
            raise UnusableFile(f"{self.setting}: {error}") from None

    def state_now(self) -> State:
        """Differs after any change, also of a link on the path: Kubernetes replaces the link, not the file."""
        try:
            stats = [path.stat() for path in self.paths]
        except OSError:
            return None
        return tuple((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats)
