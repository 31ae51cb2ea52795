"""A worker that the kernel kills when the memory of its group is used up, as in a container: the others serve on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.attack import http1
from tests.attack.attacked import MAX_BODY, MIB, PREDICT, ROW, attacked
from tests.attack.http1 import request
from tests.serving import wait_for, workers_of

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
LIMIT = 32 * MIB  # beside what the worker holds already; a large body takes several times as much
PROCESSES = "cgroup.procs"


@contextlib.contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group whose processes are killed when they take more memory; skips the test where none can be made."""
    parent, name = (V1, "memory.limit_in_bytes") if V1.is_dir() else (V2, "memory.max")
    folder = parent / f"mlflow-kserve-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / name).write_text(str(limit))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group for memory can be made: {error.strerror} ({folder})")
    try:
        yield folder
    finally:
        for pid in (folder / PROCESSES).read_text().split():
            (parent / PROCESSES).write_text(pid)
        wait_for(lambda: not (folder / PROCESSES).read_text(), seconds=10)
        folder.rmdir()


def test_a_worker_that_the_kernel_kills(tmp_path: Path) -> None:
    rows = MAX_BODY // (len(orjson.dumps(ROW)) + 1) - 10
    large = request(PREDICT, orjson.dumps({"instances": [ROW] * rows}))
    with attacked(tmp_path, "--workers", "2", "--max-body", str(MAX_BODY)) as server, memory_group(LIMIT) as group:
        first, second = sorted(workers_of(server.server))
        (group / PROCESSES).write_text(str(second))

        def is_killed() -> bool:
            """After another large request, which may come to either worker."""
            with contextlib.suppress(AssertionError, ConnectionError):  # cut off with its worker
                assert http1.ask(server.http, large, 60).status == 200
            return second not in workers_of(server.server)

        wait_for(is_killed, server.check_alive)
        server.check_correct()
        wait_for(lambda: len(workers_of(server.server)) == 2)
        assert first in workers_of(server.server)
        wait_for(lambda: "worker 1 ended with status -9; starting another" in server.log, seconds=10)
        server.check_correct()
