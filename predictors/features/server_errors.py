"""The errors of Feast's feature server, told from one another by what it sends.

It answers 404 for what its registry does not have, and 500 for most else that is wrong with a request.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from predictors.features.failures import LINE
from predictors.features.store import FeastRefused, FeastUnavailable

PASSING = frozenset({429, 502, 503, 504})
"""Statuses of servers and proxies that are not up to it now."""
LACKING = re.compile(r"\[(.*?)\]")


class NeedsColumns(FeastRefused):
    """On-demand views compute with columns of the request that it did not have."""

    def __init__(self, message: str, columns: tuple[str, ...]) -> None:
        super().__init__(message)
        self.columns = columns


def error_of(where: str, status: int, content: bytes) -> FeastUnavailable:
    kind, message = described(content)
    text = f"{where} answers {status}" + (f": {message}" if message else "")
    if status in PASSING:
        return FeastUnavailable("unreachable", text)
    if status in (401, 403):
        return FeastRefused(f"{text}; it wants a token (FEAST_TOKEN_FILE), or another one")
    if 300 <= status < 400:
        return FeastRefused(f"{text}, a redirect, which is not followed")
    if kind == "RequestDataNotFoundInEntityRowsException" and (found := LACKING.search(message)):
        return NeedsColumns(text, tuple(name.strip(" '\"") for name in found.group(1).split(",")))
    return FeastRefused(text)


def described(content: bytes) -> tuple[str, str]:
    """Feast's name for the error, and the message. Feast's own errors are JSON in a string of JSON."""
    try:
        detail: Any = orjson.loads(content)
        if isinstance(detail, str) and detail.startswith("{"):
            detail = orjson.loads(detail)
    except ValueError:
        return "", ""
    if isinstance(detail, dict):
        return str(detail.get("class", "")), shortened(detail.get("message", detail.get("detail", "")))
    return "", shortened(detail) if isinstance(detail, str) else ""


def shortened(text: Any) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= LINE else line[:LINE] + "…"
