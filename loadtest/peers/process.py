"""Child processes, pinned to a core, in their own process group, and ended with the benchmark."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Live children, so that one call can end them all.
_alive: list[Child] = []

_TAIL_LINES = 40


class BenchmarkFailed(RuntimeError):
    """A program of the benchmark failed; the message contains the end of its log."""


class Child:
    """A process group that is pinned to one core and writes its output to a file."""

    def __init__(
        self, argv: Sequence[str], core: int, log: Path, cwd: Path, extra_env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("wb") as out:
            self.started = time.perf_counter()
            self._process = subprocess.Popen(  # noqa: S603
                ["taskset", "-c", str(core), *argv],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=environment(extra_env),
                # Its own group, so that signals also reach processes that a server starts.
                start_new_session=True,
            )
        _alive.append(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exited(self) -> int | None:
        return self._process.poll()

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join("    " + line for line in lines[-_TAIL_LINES:])

    def tree(self) -> list[int]:
        """The process and its descendants."""
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    # The name is in parentheses and may hold spaces; the parent is the second field after it.
                    parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, IndexError, ValueError):
                    continue
                children.setdefault(parent, []).append(int(folder.name))
        pids, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            pids.append(pid)
            queue += children.get(pid, [])
        return pids

    def cpu_seconds(self) -> float:
        """Processor time of the tree."""
        ticks = 0
        for pid in self.tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def pss_bytes(self) -> int:
        """Proportional set size of the tree, which counts shared memory once."""
        total = 0
        for pid in self.tree():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def stop(self, patience: float = 5.0) -> None:
        if self not in _alive:
            return
        _alive.remove(self)
        # Some servers move their workers to other groups, so the tree is recorded before its root ends.
        tree = self.tree() if self.exited() is None else []
        _signal_group(self.pid, signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal_group(self.pid, signal.SIGKILL)
            for pid in tree:
                if pid != self.pid and _is_child_of_ours(pid, tree):
                    _signal(pid, signal.SIGKILL)
            self._process.wait()


def stop_all() -> None:
    for child in list(_alive):
        child.stop(patience=1.0)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The same minimal environment for every server, so that no shell setting favours one."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    # No traffic leaves the machine during a measurement.
    quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return kept | quiet | dict(extra or {})


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _is_child_of_ours(pid: int, tree: list[int]) -> bool:
    """Whether a pid still belongs to the tree: it is orphaned, or still below a process of the tree."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return False
    return parent == 1 or parent in tree
