"""The load generators, pinned to the core without servers. A burst with a single error does not count."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.peers.payloads import PeerPayload
from loadtest.peers.place import APPS, PYTHON, cores
from loadtest.peers.process import BenchmarkFailed, Child, environment

# A burst is repeated if processes outside the benchmark used more than this share of a core.
DISTURBED = 0.15


@dataclass(frozen=True, slots=True)
class Burst:
    """What one burst measured; latencies in milliseconds, shares of a core from 0 to 1."""

    requests_per_second: float
    p50: float
    p90: float
    p99: float
    requests: int
    # Shares of their cores that the server and the load generator used, which show the bottleneck.
    server_busy: float
    client_busy: float
    # Share that other processes used of the more disturbed core.
    foreign: float

    @property
    def per_cpu_second(self) -> float:
        """Requests per second of the server's processor time, which a busy neighbour does not change."""
        return self.requests_per_second / self.server_busy if self.server_busy else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


class NoReply(BenchmarkFailed):
    """A burst without a response and without an error: the machine or the server hung."""


def need_wrk() -> str:
    """The path of wrk, which is installed on Debian if we are root."""
    path = shutil.which("wrk")
    if not path and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "--quiet", "wrk"], check=False, stdout=subprocess.DEVNULL)  # noqa: S607
        path = shutil.which("wrk")
    if not path:
        raise BenchmarkFailed("the load generator wrk is missing: install it (Debian and Ubuntu: apt-get install wrk)")
    return path


def wrk(target: LoadedPort, posts: Sequence[PeerPayload], *, connections: int, seconds: int) -> Burst:
    """Sends the bodies in turn; path and headers are the first one's."""
    first = posts[0]
    if any((post.path, post.headers) != (first.path, first.headers) for post in posts):
        raise ValueError("the bodies of a burst go to one path with the same headers")
    files = [target.work / f"body-{place}.bin" for place in range(len(posts))]
    for file, post in zip(files, posts, strict=True):
        file.write_bytes(post.body)
    argv = [need_wrk(), "--threads=1", f"--connections={connections}", f"--duration={seconds}s", "--timeout=60s"]
    argv += ["--latency", "--script", str(APPS / "post.lua"), f"http://127.0.0.1:{target.port}{first.path}"]
    argv += ["--", str(len(files)), *map(str, files), *(f"{name}: {value}" for name, value in first.headers.items())]
    return _run(argv, target.child)


def grpc(target: LoadedPort, body: bytes, expected: int, *, calls: int, seconds: int) -> Burst:
    file = target.work / "body.pb"
    file.write_bytes(body)
    argv = [
        str(PYTHON),
        str(APPS / "grpc_load.py"),
        f"--port={target.port}",
        f"--body={file}",
        f"--expected={expected}",
    ]
    return _run([*argv, f"--calls={calls}", f"--seconds={seconds}"], target.child)


@dataclass(frozen=True, slots=True)
class LoadedPort:
    """A port to load, the process behind it, and a folder for the body."""

    child: Child
    port: int
    work: Path


def _run(argv: list[str], server: Child) -> Burst:
    usage = _Usage(server)
    argv = ["taskset", "-c", str(cores()[1]), *argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment())  # noqa: S603
    server_busy, client_busy, foreign = usage.shares()
    lines = [line[1:] for line in done.stdout.splitlines() if line.startswith("@")]
    if done.returncode or not lines:
        raise BenchmarkFailed(f"the load generator failed ({done.returncode}): {(done.stdout + done.stderr)[-1500:]}")
    measured = json.loads(lines[0])
    errors = {kind: measured[kind] for kind in ("status", "connect", "read", "write", "timeout") if measured[kind]}
    if errors:
        raise BenchmarkFailed(f"{measured['requests']} requests, with errors {errors}")
    if not measured["requests"]:
        raise NoReply("no reply and no error in a whole burst")
    return Burst(
        requests_per_second=measured["requests"] / (measured["microseconds"] / 1e6),
        p50=measured["p50"] / 1e3,
        p90=measured["p90"] / 1e3,
        p99=measured["p99"] / 1e3,
        requests=measured["requests"],
        server_busy=server_busy,
        client_busy=client_busy,
        foreign=foreign,
    )


class _Usage:
    """Who used the two cores between its making and the question."""

    def __init__(self, server: Child) -> None:
        self._server = server
        self._elapsed, self._client = _own_seconds()
        self._used = server.cpu_seconds()
        self._busy = core_seconds()

    def shares(self) -> tuple[float, float, float]:
        """The server's share of a core, the generator's, and the most that others took of either core."""
        busy = core_seconds()
        server = self._server.cpu_seconds() - self._used
        now, client_now = _own_seconds()
        elapsed, client = now - self._elapsed, client_now - self._client
        others = {core: busy[core] - self._busy[core] for core in cores()}
        others[cores()[0]] -= server
        others[cores()[1]] -= client
        return server / elapsed, client / elapsed, max(0.0, *others.values()) / elapsed


def _own_seconds() -> tuple[float, float]:
    """The clock, and the processor time of this process and of the generators that it waited for."""
    times = os.times()
    return times.elapsed, times.user + times.system + times.children_user + times.children_system


def core_seconds() -> dict[int, float]:
    """Seconds that each core was busy since the machine started."""
    busy = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _wait, *rest = (int(field) for field in fields)
            # The guests' times at the end are already in the users'.
            busy[int(name[3:])] = (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")
    return busy
