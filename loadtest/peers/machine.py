"""The machine and the versions, so that numbers can be read next to what made them."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from loadtest.peers import envs
from loadtest.peers.place import ENVIRONMENTS, cores

_OURS = ("kserve", "mlflow", "scikit-learn", "xgboost", "lightgbm", "numpy", "onnxruntime", "orjson", "uvicorn")
_OPTIONAL = ("uvloop", "httptools", "grpcio", "fastapi", "treelite")


def machine(ours: Path) -> dict[str, str]:
    processor = _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    memory = _field("/proc/meminfo", "MemTotal").split()
    load = os.getloadavg()[0]
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[0]) / 2**20:.0f} GiB" if memory else "",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "pinned": f"servers on core {cores()[0]}, load generator on core {cores()[1]}",
        "load average before the run": f"{load:.2f}",
        "ours": _commit(ours),
    }


def versions() -> dict[str, dict[str, str]]:
    """Versions of the libraries, by environment; peers that were not set up are not there."""
    versions = {"this environment (ours, stock KServe, echo)": _installed()}
    for name, distributions in (
        (envs.MLFLOW, ("mlflow", "uvicorn")),
        (envs.MLSERVER, ("mlserver", "mlserver-mlflow", "mlflow")),
    ):
        python = ENVIRONMENTS / name / "bin" / "python"
        if (ENVIRONMENTS / name / "installed.txt").is_file():
            versions[name] = envs.versions(python, distributions)
    return versions


def _commit(folder: Path) -> str:
    argv = ["git", "-C", str(folder), "describe", "--always", "--dirty=, with changes", "--exclude=*"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return "not a git checkout"
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "not a git checkout"


def _installed() -> dict[str, str]:
    versions = {}
    for name in (*_OURS, *_OPTIONAL):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.split(":")[0].strip() == name:
            return line.split(":", 1)[1].strip()
    return ""
