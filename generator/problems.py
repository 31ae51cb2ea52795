"""Problems of a spec: where they are, what was found, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]


def path_text(path: Sequence[str | int]) -> str:
    """A path as it is written: `scaling.schedule[0].start`, `labels[app.kubernetes.io/name]`."""
    text = ""
    for part in path:
        plain = isinstance(part, str) and all(char.isalnum() or char in "_-" for char in part)
        text += f"{'.' if text else ''}{part}" if plain else f"[{part}]"
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem."""

    path: Path
    message: str
    line: int | None = None
    source: str | None = None
    """The file, or the flag."""

    @property
    def where(self) -> str:
        """The path as text."""
        return path_text(self.path)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.path else self.message


class SpecError(ValueError):
    """The spec cannot be rendered; `problems` has all reasons."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


def problem(where: str, message: str) -> Problem:
    """A problem at a dotted path."""
    return Problem(tuple(where.split(".")) if where else (), message)


def at(source: str, line: int | None, message: str, path: Path = ()) -> Problem:
    """A problem at a line of a file."""
    return Problem(path, message, line, source)
