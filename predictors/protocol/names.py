"""Names that callers send, in messages: one may be megabytes long, and there may be a hundred thousand."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

MAX_MESSAGE, MAX_END = 1000, 300  # characters
MAX_NAME = 100  # characters of a name that is compared with others
MAX_LISTED = 10


def shortened(message: str) -> str:
    """The message without its middle if it is long: it begins with what was wrong and ends with what was expected."""
    if len(message) <= MAX_MESSAGE:
        return message
    end = MAX_MESSAGE - MAX_END
    return f"{message[:end]} … {len(message) - MAX_MESSAGE} characters … {message[-MAX_END:]}"


def quoted(names: Sequence[str], length: int | None = None) -> str:
    """The first of the names, each cut to a length if one is given."""
    listed = ", ".join(f"'{name[:length]}'" for name in names[:MAX_LISTED])
    return listed + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def closest(name: str, known: Sequence[str]) -> str | None:
    """The known name that a caller may have meant."""
    close = get_close_matches(name[:MAX_NAME], known, n=1)
    return close[0] if close else None


def suggestion(unknown: Sequence[str], known: Sequence[str]) -> str:
    close = closest(unknown[0], known)
    if close is not None:
        return f" (did you mean '{close}'?)"
    return f" (expected {quoted(known)})" if known else ""
