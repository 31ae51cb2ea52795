"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """A time of the store in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
