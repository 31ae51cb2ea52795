"""Messages on stderr, and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from generator.problems import Problem

OK, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Success; problems in the spec, or differences; unusable flags or files; a model that cannot be looked up."""


class Stop(Exception):
    """Ends a command with a message and an exit code."""

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
    """Prints all problems; if flags alone cause them, the exit code is that of wrong usage."""
    listed = list(problems)
    for problem in listed:
        say(problem_line(problem))
    return USAGE if all(problem.source and problem.source.startswith("--") for problem in listed) else WRONG
