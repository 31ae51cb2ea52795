"""A PostgreSQL server for tests, as an unprivileged user and on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from loadtest.peers.ports import free_port
from tests.serving import wait_for


def programs() -> Path | None:
    """The folder of the server's programs: Debian keeps them off the path."""
    known = shutil.which("initdb")
    folders = [Path(known).resolve().parent] if known else []
    return next(iter([*folders, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]), None)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a database, while its server runs."""
    found = programs()
    assert found is not None
    port = free_port()
    user = "nobody" if os.getuid() == 0 else None  # it refuses to be root
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        subprocess.run(
            [found / "initdb", "-D", data, "-U", "plane", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, user=user, cwd="/",
        )  # fmt: skip
        server = subprocess.Popen(
            [found / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
            stderr=subprocess.DEVNULL, user=user, cwd="/",
        )  # fmt: skip
        try:
            ready: list[str | Path] = [found / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
            wait_for(lambda: subprocess.run(ready).returncode == 0, seconds=60)
            yield f"postgresql+psycopg://plane@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(30)
