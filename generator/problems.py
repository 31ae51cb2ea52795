"""What is wrong with a spec: where, what was found, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Where = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    path: tuple[str | int, ...]
    message: str
    line: int | None = None

    @property
    def where(self) -> str:
        """The path as one would write it: `scaling.schedule[0].start`."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text or "(the whole)"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class SpecError(ValueError):
    """The spec cannot be rendered; `problems` has all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


def problem(where: str, message: str) -> Problem:
    """A problem at a dotted path."""
    return Problem(tuple(where.split(".")) if where else (), message)
