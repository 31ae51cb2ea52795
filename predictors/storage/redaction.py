"""Text without the secrets that URLs in it may hold."""

from __future__ import annotations

import re

USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")


def without_secrets(text: str) -> str:
    """Drops user and password of each URL, and its query, which may hold a signature."""
    return QUERY.sub(r"\1", USER_AND_PASSWORD.sub("", text))
