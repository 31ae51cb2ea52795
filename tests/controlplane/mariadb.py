"""A MariaDB server for tests, as an unprivileged user and on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from loadtest.peers.ports import free_port
from tests.serving import wait_for

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")


def is_installed() -> bool:
    """The server, and what the extra `mysql` brings."""
    return all(shutil.which(each, path=path()) for each in PROGRAMS) and find_spec("pymysql") is not None


def path() -> str:
    """Debian keeps servers off the path of ordinary users."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """The URL of a database, while its server runs."""
    port, user = free_port(), "nobody" if os.getuid() == 0 else None
    environment = {**os.environ, "PATH": path()}
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)
        data, socket = f"{folder}/data", f"{folder}/socket"
        install = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        run: dict[str, Any] = {"user": user, "cwd": "/", "env": environment, "stdout": subprocess.DEVNULL}
        subprocess.run(
            [*install, "--skip-test-db", "--skip-name-resolve"], check=True, stderr=subprocess.DEVNULL, **run
        )
        server = subprocess.Popen(
            ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}", f"--port={port}",
             "--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
             "--innodb-buffer-pool-size=32M", f"--pid-file={folder}/pid"],
            stderr=subprocess.DEVNULL, **run,
        )  # fmt: skip
        client = ["mariadb", "--no-defaults", f"--socket={socket}", "-u", "root", "-e"]
        try:
            create = "CREATE DATABASE plane; CREATE USER plane@'127.0.0.1'; GRANT ALL ON plane.* TO plane@'127.0.0.1'"
            ask: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            wait_for(lambda: subprocess.run([*client, "SELECT 1"], **ask).returncode == 0, seconds=60)
            subprocess.run([*client, create], check=True, **ask)
            yield f"mysql+pymysql://plane@127.0.0.1:{port}/plane"
        finally:
            server.terminate()
            server.wait(30)
