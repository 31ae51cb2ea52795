"""Writes files atomically, and removes those of an earlier run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from generator.cli.console import Stop, say
from generator.output import KUSTOMIZATION

HEADER_MARK = "# Made by mlflow-kserve "
SERVE_LABEL = "app.kubernetes.io/name"


def write(file: Path, text: str) -> None:
    """Writes a file atomically; an existing file keeps its mode, and a link its target."""
    try:
        target = file.resolve()
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~umask()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.write(text)
            Path(name).chmod(mode)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Stop(f"{file}: cannot be written: {error.strerror or error}") from None


def umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_folder(folder: Path, texts: Mapping[str, str], serve: str) -> None:
    """Writes the files of a serve, removes those that an earlier run rendered, and keeps those of others."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(file for file in folder.iterdir() if file.suffix == ".yaml")
        heads = {file.name: file.read_text(encoding="utf-8", errors="replace") for file in there}
    except OSError as error:
        raise Stop(f"{folder}: cannot be written: {error.strerror or error}") from None
    old = []
    for name, text in heads.items():
        if not text.startswith(HEADER_MARK):
            if name in texts:
                raise Stop(
                    f"{folder / name}: was not written by mlflow-kserve, and would be overwritten: expected another "
                    "folder"
                )
            say(f"{folder / name}: was not written by mlflow-kserve, and stays; {KUSTOMIZATION} does not list it")
        elif name != KUSTOMIZATION and (owner := serve_of(text)) != serve:
            raise Stop(f"{folder}: holds the serve {owner!r}: expected one folder per serve")
        elif name not in texts:
            old.append(folder / name)
    for name, text in texts.items():
        write(folder / name, text)
    for file in old:
        file.unlink()
        say(f"{file}: is no longer rendered, and was removed")


def serve_of(text: str) -> str | None:
    """The serve that a rendered file belongs to."""
    try:
        content = yaml.safe_load(text)
        return str(content["metadata"]["labels"][SERVE_LABEL])
    except (yaml.YAMLError, KeyError, TypeError):
        return None
