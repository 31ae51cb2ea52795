"""Fetches a folder of a git repository."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

FETCH_SECONDS = 600.0


class GitFailed(Exception):
    """The repository cannot be fetched; the message is one line."""


def fetch(url: str, branch: str, path: str, target: Path, token: str | None) -> str:
    """Puts the folder at `path` of a branch or a tag at `target`, whole or not at all; the commit."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as temporary:
        clone = Path(temporary) / "clone"
        variables = environ(token)
        run("clone", "--quiet", "--depth=1", f"--branch={branch}", "--", url, str(clone), environ=variables)
        commit = run("-C", str(clone), "rev-parse", "HEAD", environ=variables).strip()
        shutil.rmtree(clone / ".git")
        folder = (clone / path).resolve()
        if not folder.is_relative_to(clone.resolve()):
            raise GitFailed(f"{path} leads out of the repository")
        if not (folder / "MLmodel").is_file():
            raise GitFailed(f"{path} of {branch} holds no MLflow model: it has no file MLmodel")
        if target.exists():  # of a job that ended before it was noted
            shutil.rmtree(target)
        folder.rename(target)
    return commit


def run(*arguments: str, environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - arguments, not a shell
            ["git", *arguments],  # noqa: S607 - wherever the system has it
            capture_output=True, text=True, timeout=FETCH_SECONDS, env=dict(environ), check=False
        )  # fmt: skip
    except FileNotFoundError:
        raise GitFailed("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise GitFailed(f"git took longer than {FETCH_SECONDS:g} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"git ended with status {done.returncode}"]
        fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
        raise GitFailed(fatal[0] if fatal else lines[-1])
    return done.stdout


def environ(token: str | None) -> dict[str, str]:
    """Git asks nobody, runs no helper that a URL names, and shows the token in no list of processes."""
    variables = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file"}
    if token is not None:
        credentials = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        variables |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {credentials}",
        }
    return variables
