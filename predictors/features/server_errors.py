"""Classifies the error responses of Feast's feature server.

It answers 404 for names that its registry does not have, and 500 for most other errors in a request.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from predictors.features.failures import MAX_MESSAGE_LENGTH
from predictors.features.store import FeastRefused, FeastUnavailable

TEMPORARY_STATUSES = frozenset({429, 502, 503, 504})
"""Statuses of servers and proxies that are overloaded or down."""
COLUMN_LIST = re.compile(r"\[(.*?)\]")


class NeedsColumns(FeastRefused):
    """On-demand views need columns that the request does not have."""

    def __init__(self, message: str, columns: tuple[str, ...]) -> None:
        super().__init__(message)
        self.columns = columns


def error_of(server: str, status: int, content: bytes) -> FeastUnavailable:
    kind, message = described(content)
    text = f"{server} answered {status}" + (f": {message}" if message else "")
    if status in TEMPORARY_STATUSES:
        return FeastUnavailable("unreachable", text)
    if status in (401, 403):
        return FeastRefused(f"{text}; expected a valid token in FEAST_TOKEN_FILE")
    if 300 <= status < 400:
        return FeastRefused(f"{text}; redirects are not followed")
    if kind == "RequestDataNotFoundInEntityRowsException" and (match := COLUMN_LIST.search(message)):
        return NeedsColumns(text, tuple(name.strip(" '\"") for name in match[1].split(",")))
    return FeastRefused(text)


def described(content: bytes) -> tuple[str, str]:
    """The error's class in Feast, and its message. Feast's own errors are JSON inside a JSON string."""
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
    return line if len(line) <= MAX_MESSAGE_LENGTH else line[:MAX_MESSAGE_LENGTH] + "…"
