"""The server that all attacks share which a server should survive without noticing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.attack.attacked import MAX_BODY, READ_TIMEOUT, SECRET, Attacked, attacked
from tests.attack.report import AttackReport, measured
from tests.serving import answers, wait_for

__all__ = ["measured"]


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(AttackReport(write=config.getoption("--write-docs")))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Attacked]]:
    """Starts the shared server, and another one after a test that ended it."""
    with contextlib.ExitStack() as stack:
        servers: list[Attacked] = []

        def current() -> Attacked:
            if not servers or servers[-1].server.process.poll() is not None:
                folder = tmp_path_factory.mktemp("attacked")
                (folder / "secret").write_text(SECRET)
                flags = ["--max-body", str(MAX_BODY), "--read-timeout", str(READ_TIMEOUT)]
                flags += ["--webhook-secret-file", str(folder / "secret")]
                servers.append(stack.enter_context(attacked(folder, *flags)))
            return servers[-1]

        yield current


@pytest.fixture
def server(running: Callable[[], Attacked]) -> Attacked:
    """A server of the demo model that takes bodies of up to 16 MiB."""

    def ended() -> bool:
        return current.server.process.poll() is not None

    current = running()
    # What the test before left behind may still be at work, or may just be ending the server.
    wait_for(lambda: ended() or answers(current.server.running.client, "/v2/health/ready") == 200, seconds=20)
    if ended():
        current = running()
    current.log_start = len(current.server.log)
    return current
