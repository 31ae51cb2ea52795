"""Syntax errors of YAML in plain words: line, column, and what was expected."""

from __future__ import annotations

import yaml
from yaml.composer import ComposerError

from generator.problems import Problem, at


def unreadable(error: yaml.MarkedYAMLError, text: str, source: str) -> Problem:
    """The parser's error as a problem."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return at(source, None, "is not YAML")
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    where = f"column {mark.column + 1}: "
    if isinstance(error, ComposerError):
        what = "expected an anchor (&name) before the alias (*name) that names it"
    elif "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        what = "a tab: expected spaces for indentation"
    elif "mapping values are not allowed" in str(error.problem):
        what = "a second ':' in the line: expected quotes around text that contains one, and one field per line"
    elif "could not find expected ':'" in str(error.problem):
        what = "expected 'field: value'"
    elif "while parsing a flow" in str(error.context):
        what = "expected ',' or the closing bracket of the one opened " + opened(error)
    elif "quoted scalar" in str(error.context):
        what = "expected the closing quote of the one opened " + opened(error)
    elif "cannot start any token" in str(error.problem):
        what = f"text cannot begin with {line[mark.column : mark.column + 1]!r}: expected quotes around it"
    elif "block mapping" in str(error.context) or "block collection" in str(error.context):
        what = "expected the same indentation as its neighbours " + opened(error)
    else:
        what = f"cannot be read as YAML ({error.problem})"
    return at(source, mark.line + 1, where + what)


def opened(error: yaml.MarkedYAMLError) -> str:
    return f"in line {error.context_mark.line + 1}" if error.context_mark else "before"
