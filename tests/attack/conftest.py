"""The server that all attacks share which a server should survive without noticing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.attack.attacked import MIB, Attacked, attacked
from tests.serving import answers, wait_for

MAX_BODY = MIB


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Attacked]]:
    """Starts the shared server, and another one after a test that ended it."""
    with contextlib.ExitStack() as stack:
        servers: list[Attacked] = []

        def current() -> Attacked:
            if not servers or servers[-1].server.process.poll() is not None:
                folder = tmp_path_factory.mktemp("attacked")
                servers.append(stack.enter_context(attacked(folder, "--max-body", str(MAX_BODY))))
            return servers[-1]

        yield current


@pytest.fixture
def server(running: Callable[[], Attacked]) -> Attacked:
    """A server of the demo model that takes bodies of up to 1 MiB."""
    current = running()
    # What the test before left behind may still be at work.
    wait_for(lambda: answers(current.server.running.client, "/health/live") == 200, seconds=20)
    return current
