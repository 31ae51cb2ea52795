"""Token files: a token per line, with or without a name, in clear or as a digest."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from predictors.access.reloading_file import ReloadingFile, UnusableFile

Tokens: TypeAlias = dict[bytes, str]
"""Names by the digest of the token, so that the time of a look-up tells nothing about the tokens."""

MIN_TOKEN = 16  # characters: a shorter token can be guessed
MAX_TOKEN = 8192
TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # of RFC 6750; a colon can therefore only follow a name
DIGEST = re.compile(r"(?:([^:]*):)?sha256:([0-9a-fA-F]{64})")


@lru_cache(maxsize=1024)
def digest_of(token: bytes) -> bytes:
    """Cached, since callers send the same few tokens again and again; Python's hash of a key cannot be predicted."""
    return hashlib.sha256(token).digest()


def token_file(path: str, setting: str) -> ReloadingFile[Tokens]:
    return ReloadingFile([path], setting, lambda: parse(Path(path).read_bytes()))


def parse(content: bytes) -> Tokens:
    """`token`, `name:token`, `sha256:digest` or `name:sha256:digest` a line; blank lines and # comments are skipped."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UnusableFile("expected text in UTF-8") from None
    tokens: Tokens = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, digest = entry(text, f"line {number}")
        if digest in tokens:
            raise UnusableFile(f"line {number} repeats a token")
        tokens[digest] = f"token {name or digest.hex()}"
    if not tokens:
        raise UnusableFile("it contains no token")
    return tokens


def entry(text: str, where: str) -> tuple[str, bytes]:
    hashed = DIGEST.fullmatch(text)
    if hashed:
        return (hashed[1] or "").strip(), bytes.fromhex(hashed[2])
    name, _, token = text.rpartition(":")
    token = token.strip()
    if not TOKEN.fullmatch(token):
        raise UnusableFile(
            f"{where}: expected token, name:token or name:sha256:digest; tokens consist of A-Z a-z 0-9 - . _ ~ + /"
        )
    if len(token) < MIN_TOKEN:
        raise UnusableFile(f"{where}: a token has at least {MIN_TOKEN} characters")
    if name.endswith("sha256"):
        raise UnusableFile(f"{where}: expected 64 hexadecimal digits after sha256:")
    return name.strip(), digest_of(token.encode())
