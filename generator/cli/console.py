"""What is said on stderr, and with which status the command ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from generator.problems import Problem

OK, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Fine; problems in the spec, or differences; flags and files that cannot be used; a model that cannot be read."""


class Stop(Exception):
    """The end of a command: one line and a status."""

    def __init__(self, message: str, status: int = USAGE) -> None:
        self.status = status
        super().__init__(message)


def say(line: str) -> None:
    print(line, file=sys.stderr)


def problem_line(problem: Problem) -> str:
    """`serve.yaml:12: scaling.schedule[0].start: …`"""
    if problem.source is None:
        return str(problem)
    if problem.source.startswith("--"):
        return f"{problem.source}: {problem.message}"
    place = problem.source if problem.line is None else f"{problem.source}:{problem.line}"
    return f"{place}: {problem}"


def say_problems(problems: Iterable[Problem]) -> int:
    """Says all of them; what flags alone are to blame for is a matter of usage."""
    listed = list(problems)
    for problem in listed:
        say(problem_line(problem))
    return USAGE if all(problem.source and problem.source.startswith("--") for problem in listed) else WRONG
