"""uv and pip as subprocesses: their environment, their progress, and the reasons of their failures."""

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

# uv's names for pip's environment variables; if one of uv's is set, it takes precedence.
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
MAX_REASON_LENGTH = 1200


class InstallerError(Exception):
    """The environment cannot be built; the message is one line for the operator."""


class Uv:
    overrides = True
    """Whether a model's version can override the bounds of another package."""
    lock_files: tuple[int, ...] = ()
    """Open files that commands inherit: an installer that outlives its parent still holds the lock."""

    def __init__(self) -> None:
        self.program = find_uv()

    def find_python(self, version: str) -> str | None:
        command = [self.program, "python", "find", "--no-python-downloads", "--system", version]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - our own command
        return done.stdout.strip() or None if done.returncode == 0 else None

    def create(self, target: Path, python: str, note: Note) -> None:
        run(
            [self.program, "venv", "--no-project", "--python", python, str(target)],
            target.parent,
            note,
            self.lock_files,
        )

    def install(self, target: Path, arguments: Sequence[str], note: Note) -> None:
        python = str(target / "bin" / "python")
        command = [self.program, "pip", "install", "--python", python, *arguments]
        run(command, target, note, self.lock_files, {**os.environ, **uv_environment(os.environ)})


class Pip:
    overrides = False
    lock_files: tuple[int, ...] = ()

    def find_python(self, version: str) -> str | None:
        return shutil.which(f"python{version}")

    def create(self, target: Path, python: str, note: Note) -> None:
        if importlib.util.find_spec("virtualenv") is not None:
            command = [sys.executable, "-m", "virtualenv", "--python", python, str(target)]
        else:
            command = [python, "-m", "venv", str(target)]
        run(command, target.parent, note, self.lock_files)

    def install(self, target: Path, arguments: Sequence[str], note: Note) -> None:
        python = str(target / "bin" / "python")
        run([python, "-m", "pip", "--disable-pip-version-check", "install", *arguments], target, note, self.lock_files)


INSTALLERS: Mapping[str, Callable[[], Uv | Pip]] = {"uv": Uv, "virtualenv": Pip}


def find_uv() -> str:
    if importlib.util.find_spec("uv") is not None:
        from uv import find_uv_bin

        try:
            return str(find_uv_bin())
        except FileNotFoundError:
            pass
    program = shutil.which("uv")
    if program is None:
        raise InstallerError("--env-manager=uv needs uv, which is not installed: pip install 'mlflow-kserve[uv]'")
    return program


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's environment variables under uv's names."""
    translated: dict[str, str] = {}
    for pip_name, names in UV_NAMES.items():
        value = environ.get(pip_name)
        if value and not any(environ.get(name) for name in names):
            translated[names[0]] = ",".join(value.split()) if pip_name == "PIP_FIND_LINKS" else value
    return translated


def run(
    command: Sequence[str],
    folder: Path,
    note: Note,
    lock_files: Sequence[int],
    environ: Mapping[str, str] | None = None,
) -> None:
    """Runs a command and reports its progress; InstallerError with its own message if it fails."""
    try:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", process_group=0,
            pass_fds=lock_files,
        )  # fmt: skip
    except OSError as error:
        raise InstallerError(f"{command[0]} cannot be started: {error.strerror}") from error
    output: list[str] = []
    try:
        for line in process.stdout or ():
            output.append(line.rstrip())
            if PROGRESS.match(line):
                note(f"the model's environment: {without_passwords(line.strip())[:200]}")
        code = process.wait()
    finally:
        if process.poll() is None:  # a signal ends the wait: the environment is not needed any more
            process.terminate()
            process.wait()
    if code:
        raise InstallerError(explanation(output) or f"{Path(command[0]).name} ended with status {code}")


def explanation(output: Sequence[str]) -> str:
    """The reason on one line, from the installer's first error message on."""
    first = next((i for i, line in enumerate(output) if FAILURE.match(line)), max(0, len(output) - 3))
    text = " ".join(BOXES.sub(" ", without_passwords("\n".join(output[first:]))).split())
    return text if len(text) <= MAX_REASON_LENGTH else f"{text[:MAX_REASON_LENGTH]}…"


def without_passwords(text: str) -> str:
    return PASSWORD.sub("***@", text)
