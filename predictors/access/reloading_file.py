"""Files that are read again when they change: tokens, keys and certificates are rotated without a restart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from predictors.settings.declare import SettingError

log = logging.getLogger("predictors")
T = TypeVar("T")
State: TypeAlias = "tuple[tuple[int, ...], ...] | None"

LOOK_EVERY = 1.0  # seconds


class UnusableFile(SettingError):
    """A file that cannot be used; the message says why and holds nothing of what is in it."""


class ReloadingFile(Generic[T]):
    """What some files hold, as it was when they could last be read."""

    def __init__(self, paths: Sequence[str], setting: str, read: Callable[[], T]) -> None:
        self.paths = [Path(path) for path in paths]
        self.setting = setting
        self.read = read
        self.state = self.state_now()
        self.look_at = time.monotonic() + LOOK_EVERY
        self.value = self.read_all()

    def current(self) -> T:
        """Costs no more than a look at the clock, but for once a second."""
        now = time.monotonic()
        if now >= self.look_at:
            self.look_at = now + LOOK_EVERY
            self.look()
        return self.value

    def look(self) -> None:
        state = self.state_now()
        if state == self.state:
            return
        self.state = state
        try:
            self.value = self.read_all()
        except UnusableFile as error:
            log.error("%s; what it held before stays in force", error)
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
        """Differs after any change; Kubernetes swaps a link on the way to the file, and so the file behind it."""
        try:
            found = [path.stat() for path in self.paths]
        except OSError:
            return None
        return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found)
