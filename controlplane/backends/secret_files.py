"""Secrets of this machine: a file for each key, in the data folder."""

from __future__ import annotations

from pathlib import Path


class MissingSecret(Exception):
    """A secret that is referred to is not there."""


def secret_text(secrets: Path, secret: str, key: str) -> str:
    """What a key of a secret says. Raises MissingSecret."""
    try:
        return (secrets / secret / key).read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError):
        raise MissingSecret(f"there is no secret {secret} with the key {key}") from None
