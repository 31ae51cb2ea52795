"""Progress on stderr: the current case and server, and the remaining time."""

from __future__ import annotations

import sys
import time

# Seconds of cases after which the measured pace corrects the estimate.
_MIN_DONE_SECONDS = 30.0


class Progress:
    def __init__(self, estimate: float) -> None:
        self._began = time.monotonic()
        self._estimate = estimate
        self._total = estimate
        self._case = ""

    def case(self, place: int, count: int, name: str, done: float) -> None:
        """`done` is the estimate for the earlier cases; their real time corrects the rest."""
        self._case = f"case {place} of {count} {name}"
        elapsed = self.elapsed
        slower = elapsed / done if done > _MIN_DONE_SECONDS else 1.0
        self._total = elapsed + (self._estimate - done) * slower

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        elapsed = self.elapsed
        sys.stderr.write(f"[{_clock(elapsed)} of about {_clock(max(self._total, elapsed))}] {self._case}: {text}\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
