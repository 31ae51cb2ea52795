"""A control plane that answers over HTTP from a thread of the test; its back end is in memory, its loops are real."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from controlplane.access.guard import CallerGuard
from controlplane.access.registry_webhook import RegistryWebhook
from controlplane.access.settings import ControlAccessSettings
from controlplane.api.control import Control
from controlplane.backends.backend import Key
from controlplane.cli import config_of, ensure_local, listening
from controlplane.decide import Observed
from controlplane.loops.loops import Loops
from controlplane.page.site import site
from controlplane.store.database import Store
from tests.controlplane.memory_backend import MemoryBackend
from tests.serving import wait_for


class AddressedBackend(MemoryBackend):
    """A back end in memory whose serves are at an address that the test names."""

    address = "http://127.0.0.1:9"

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.addresses: dict[Key, str] = {}
        """Those of single serves."""

    def observe(self, key: Key, *more: Any, **options: Any) -> Observed:
        observed = super().observe(key, *more, **options)
        return replace(observed, url=self.addresses.get(key, self.address)) if observed.url else observed


class ServedPlane:
    def __init__(self, folder: Path, access: ControlAccessSettings | None = None) -> None:
        self.store = Store(f"sqlite:///{folder / 'plane.db'}")
        self.store.migrate()
        ensure_local(self.store)
        self.backend = AddressedBackend(time.time)
        self.loops = Loops(self.store, lambda environment: self.backend, "the test", folder)
        control = Control(
            self.store, lambda environment: self.backend, CallerGuard(access or ControlAccessSettings(), self.store),
            self.loops.mark, self.loops.artifacts_wanted.set, lambda: self.loops.acts, self.loops.queue.__len__,
            self.loops.metrics.registry, RegistryWebhook(str(folder / "webhook-secret"), folder),
            self.loops.followed_moved.set, self.loops.last_seen,
        )  # fmt: skip
        self.app = site(control)
        self.server = uvicorn.Server(config_of(self.app))
        self.socket = listening("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)

    def start(self) -> None:
        self.loops.start()
        self.thread.start()
        wait_for(lambda: self.server.started)

    def close(self) -> None:
        self.app.state.feed.close()
        self.server.should_exit = True
        self.thread.join()
        self.loops.close()
        self.store.close()


@contextmanager
def served_plane(folder: Path, access: ControlAccessSettings | None = None) -> Iterator[ServedPlane]:
    plane = ServedPlane(folder, access)
    plane.start()
    try:
        yield plane
    finally:
        plane.close()
