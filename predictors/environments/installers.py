"""uv and pip as commands: what they are told, what of their words is passed on, and what their failures mean."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Note = Callable[[str], None]

# uv has names of its own for what pip takes from the environment; where uv's are set, they count.
UV_NAMES = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
    "PIP_NO_INDEX": ("UV_NO_INDEX",),
    "PIP_CONSTRAINT": ("UV_CONSTRAINT",),
    "PIP_TRUSTED_HOST": ("UV_INSECURE_HOST",),
    "PIP_CERT": ("SSL_CERT_FILE",),
}
PROGRESS = re.compile(r"(Resolved|Prepared|Downloading|Building|Built|Installed|Installing|Bytecode)\b.*")
FAILURE = re.compile(r"\s*(×|error:|ERROR:|Error:|OSError|\[Errno)")
BOXES = re.compile(r"[×╰─▶├│]+")
PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")
LONGEST = 1200


class InstallerError(Exception):
    """The environment cannot be built; the message is one line for the operator."""


class Uv:
    overrides = True
    """Whether a model's version can win against the bounds of another package."""
    held: tuple[int, ...] = ()
    """Open files that the commands hold, too: an installer that is left behind still has the lock."""

    def __init__(self) -> None:
        self.program = find_uv()

    def find_python(self, version: str) -> str | None:
        asked = [self.program, "python", "find", "--no-python-downloads", "--system", version]
        done = subprocess.run(asked, capture_output=True, text=True)  # noqa: S603 - our own command
        return done.stdout.strip() or None if done.returncode == 0 else None

    def make(self, target: Path, python: str, note: Note) -> None:
        run([self.program, "venv", "--no-project", "--python", python, str(target)], target.parent, note, self.held)

    def install(self, target: Path, arguments: Sequence[str], note: Note) -> None:
        python = str(target / "bin" / "python")
        command = [self.program, "pip", "install", "--python", python, *arguments]
        run(command, target, note, self.held, {**os.environ, **uv_environment(os.environ)})


class Pip:
    overrides = False
    held: tuple[int, ...] = ()

    def find_python(self, version: str) -> str | None:
        return shutil.which(f"python{version}")

    def make(self, target: Path, python: str, note: Note) -> None:
        if importlib.util.find_spec("virtualenv") is not None:
            command = [sys.executable, "-m", "virtualenv", "--python", python, str(target)]
        else:
            command = [python, "-m", "venv", str(target)]
        run(command, target.parent, note, self.held)

    def install(self, target: Path, arguments: Sequence[str], note: Note) -> None:
        python = str(target / "bin" / "python")
        run([python, "-m", "pip", "--disable-pip-version-check", "install", *arguments], target, note, self.held)


INSTALLERS: Mapping[str, Callable[[], Uv | Pip]] = {"uv": Uv, "virtualenv": Pip}


def find_uv() -> str:
    if importlib.util.find_spec("uv") is not None:
        from uv import find_uv_bin

        try:
            return str(find_uv_bin())
        except FileNotFoundError:
            pass
    found = shutil.which("uv")
    if found is None:
        raise InstallerError("--env-manager=uv needs uv, which is not installed: pip install 'mlflow-kserve[uv]'")
    return found


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What pip is told by the environment, in uv's words."""
    made: dict[str, str] = {}
    for theirs, names in UV_NAMES.items():
        value = environ.get(theirs)
        if value and not any(environ.get(name) for name in names):
            made[names[0]] = ",".join(value.split()) if theirs == "PIP_FIND_LINKS" else value
    return made


def run(
    command: Sequence[str], folder: Path, note: Note, held: Sequence[int], environ: Mapping[str, str] | None = None
) -> None:
    """Runs a command and passes on how far it is; a failure is said in its own words."""
    try:
        started = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", process_group=0,
            pass_fds=held,
        )  # fmt: skip
    except OSError as error:
        raise InstallerError(f"{command[0]} cannot be started: {error.strerror}") from error
    said: list[str] = []
    try:
        for line in started.stdout or ():
            said.append(line.rstrip())
            if PROGRESS.match(line):
                note(f"the model's environment: {without_passwords(line.strip())[:200]}")
        code = started.wait()
    finally:
        if started.poll() is None:  # a signal ends the wait: nobody wants the environment any more
            started.terminate()
            started.wait()
    if code:
        raise InstallerError(explanation(said) or f"{Path(command[0]).name} ended with status {code}")


def explanation(said: Sequence[str]) -> str:
    """The reason in one line: from where the installer begins to complain."""
    first = next((i for i, line in enumerate(said) if FAILURE.match(line)), max(0, len(said) - 3))
    text = " ".join(BOXES.sub(" ", without_passwords("\n".join(said[first:]))).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def without_passwords(text: str) -> str:
    return PASSWORD.sub("***@", text)
