"""Environments of peers whose dependencies conflict with ours, set up once in `.venv-peers`."""

from __future__ import annotations

import hashlib
import subprocess
from importlib import metadata
from pathlib import Path

from loadtest.peers.place import ENVIRONMENTS, PYTHON, ROOT
from loadtest.peers.process import BenchmarkFailed

MLFLOW = "mlflow"
MLSERVER = "mlserver"

# The model's libraries have the versions of this environment, so that all servers run the same code.
_SHARED = ("mlflow", "scikit-learn", "numpy", "scipy", "pandas", "cloudpickle")
_OWN = {
    # Other shared packages, such as uvicorn, have the same versions too.
    MLFLOW: ("lightgbm", "-c", str(ROOT / "constraints.txt")),
    MLSERVER: (
        "mlserver==1.7.1",
        "mlserver-mlflow==1.7.1",
        # Its workers use an API that uvloop 0.22 removed.
        "uvloop==0.21.0",
        "fastapi==0.115.14",
        "uvicorn==0.54.0",
    ),
}


class PeerUnavailable(RuntimeError):
    """A peer is not available here; the message says why."""


def python_of(name: str, *, may_install: bool) -> Path:
    """The interpreter of a peer's environment, which is set up if missing and allowed."""
    folder = ENVIRONMENTS / name
    requirements = _requirements(name)
    stamp = folder / "installed.txt"
    mark = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    python = folder / "bin" / "python"
    if stamp.is_file() and stamp.read_text().strip() == mark:
        return python
    if not may_install:
        raise PeerUnavailable(f"its environment is not set up; `python -m loadtest.peers --set-up {name}` does it")
    log = ENVIRONMENTS / f"{name}.log"
    ENVIRONMENTS.mkdir(exist_ok=True)
    with log.open("wb") as out:
        for argv in (
            [str(PYTHON), "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
        ):
            if subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:  # noqa: S603
                lines = [line for line in log.read_text(errors="replace").splitlines() if "WARNING" not in line]
                raise PeerUnavailable("its environment could not be set up: " + " / ".join(lines[-3:]))
    stamp.write_text(mark)
    return python


def versions(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Versions of distributions in an environment."""
    code = "import importlib.metadata as m, sys\nfor n in sys.argv[1:]: print(n, m.version(n))"
    done = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BenchmarkFailed(f"{python} does not have {', '.join(names)}: {done.stderr[-500:]}")
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def _requirements(name: str) -> list[str]:
    return [*(f"{library}=={metadata.version(library)}" for library in _SHARED), *_OWN[name]]
