"""The length of a sliding window, in seconds or in rows."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_PARTS = 30
"""A window slides by one of so many parts at a time."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Span:
    """The length of a window: in rows if there are any, else in seconds."""

    seconds: float = 0.0
    rows: int = 0

    def shared_by(self, workers: int) -> Span:
        """The window of each worker, so that all of them together cover this one."""
        return Span(self.seconds, -(-self.rows // workers))


def parse_span(text: str) -> Span:
    """`3600`, `15m`, `1h`, `10000rows`."""
    if text.endswith("rows"):
        rows = int(text.removesuffix("rows"))
        if rows >= WINDOW_PARTS:
            return Span(rows=rows)
    else:
        unit = text[-1:] if text[-1:] in UNITS else "s"
        seconds = float(text.removesuffix(unit)) * UNITS[unit]
        if 1 <= seconds < float("inf"):
            return Span(seconds=seconds)
    raise ValueError(f"expected seconds such as 900, 15m or 1h, or at least {WINDOW_PARTS} rows such as 10000rows")
