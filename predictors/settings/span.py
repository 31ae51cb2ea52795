"""How long a sliding window is, as a setting says it."""

from __future__ import annotations

from dataclasses import dataclass

PARTS = 30  # of a window; it slides by one at a time
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Span:
    """How long a window is: in seconds, or in rows if there are any."""

    seconds: float = 0.0
    rows: int = 0

    def shared_by(self, workers: int) -> Span:
        """What each of them keeps, so that it is this together."""
        return Span(self.seconds, -(-self.rows // workers))


def span(written: str) -> Span:
    """`3600`, `15m`, `1h`, `10000rows`."""
    if written.endswith("rows"):
        rows = int(written.removesuffix("rows"))
        if rows >= PARTS:
            return Span(rows=rows)
    else:
        unit = written[-1:] if written[-1:] in UNITS else "s"
        seconds = float(written.removesuffix(unit)) * UNITS[unit]
        if 1 <= seconds < float("inf"):
            return Span(seconds=seconds)
    raise ValueError(f"expected seconds such as 900, 15m or 1h, or at least {PARTS} rows such as 10000rows")
