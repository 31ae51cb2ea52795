"""Files of tokens: one a line, with a name or without, in clear or as a digest."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from predictors.access.reloading_file import ReloadingFile, UnusableFile

Tokens: TypeAlias = dict[bytes, str]
"""Names by the digest of the token: looking one up takes as long for a near miss as for any other."""

SHORTEST = 16  # characters: less can be guessed
LONGEST = 8192
TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # as RFC 6750 has it; so a colon can only follow a name
DIGEST = re.compile(r"(?:([^:]*):)?sha256:([0-9a-fA-F]{64})")


@lru_cache(maxsize=1024)
def digest_of(token: bytes) -> bytes:
    """Remembered, by a hash that nobody outside can foresee: callers send the same few again and again."""
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
        raise UnusableFile("there is no token in it")
    return tokens


def entry(text: str, where: str) -> tuple[str, bytes]:
    hashed = DIGEST.fullmatch(text)
    if hashed:
        return (hashed[1] or "").strip(), bytes.fromhex(hashed[2])
    name, _, token = text.rpartition(":")
    token = token.strip()
    if not TOKEN.fullmatch(token):
        raise UnusableFile(
            f"{where}: expected token, name:token or name:sha256:digest; tokens are of A-Z a-z 0-9 - . _ ~ + /"
        )
    if len(token) < SHORTEST:
        raise UnusableFile(f"{where}: a token has at least {SHORTEST} characters")
    if name.endswith("sha256"):
        raise UnusableFile(f"{where}: expected 64 hexadecimal digits after sha256:")
    return name.strip(), digest_of(token.encode())
