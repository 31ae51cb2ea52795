"""The steps of a rollout on stderr, while they are carried out."""

from __future__ import annotations

import sys
from contextlib import suppress

from generator.rollout.drive import StepProgress


class LiveProgress:
    """One line for each step; on a terminal the line of the current one changes while it waits."""

    def __init__(self) -> None:
        self.open = ""
        self.passed: set[int] = set()

    def tell(self, progress: StepProgress) -> None:
        title = f"{progress.number}/{progress.of} {progress.step.text}"
        if progress.state == "passed":
            self.passed.add(progress.number)
            self.line(f"{title}: done before")
        elif progress.state == "begun":
            self.show(title)
        elif progress.state == "waiting":
            self.show(f"{title} … {progress.seconds:.0f} s: {progress.missing[0]}?")
        elif progress.number not in self.passed:
            self.line(f"{title}: {progress.seconds:.1f} s")

    def show(self, text: str) -> None:
        """A line that a later one replaces, if somebody looks at it."""
        if sys.stderr.isatty():
            write(f"\r\033[K{text}")
            self.open = text

    def line(self, text: str) -> None:
        write(f"\r\033[K{text}\n" if self.open else f"{text}\n")
        self.open = ""

    def end(self) -> None:
        if self.open:
            write("\n")


def write(text: str) -> None:
    """A rollout goes on when nobody reads about it any more."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
