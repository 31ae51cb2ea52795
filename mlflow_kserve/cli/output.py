"""Replies as a table for people, or as JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

Format = Literal["table", "json", "yaml"]
GAP = "  "


def rendered(value: Any, form: Format, columns: Sequence[str] = ()) -> str:
    """The text of a reply; `columns` are paths of fields, and the only ones that a table shows."""
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    if form == "yaml":
        import yaml

        return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip("\n")
    if isinstance(value, str):
        return value.rstrip("\n")
    if isinstance(value, list):
        return table([[cell(at(row, path)) for path in columns] for row in value], columns)
    return described(value, columns)


def table(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    if not rows:
        return "none"
    titles = [path.rpartition(".")[2].replace("_", " ").upper() for path in columns]
    lines = [titles, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(titles))]
    return "\n".join(GAP.join(map(str.ljust, line, widths)).rstrip() for line in lines)


def described(value: Mapping[str, Any], columns: Sequence[str]) -> str:
    """One field on each line; those that say nothing are left out."""
    fields = [(path, at(value, path)) for path in columns] if columns else list(flat(value))
    said = [(path, cell(each)) for path, each in fields if each not in (None, "", [], {})]
    width = max((len(path) for path, _ in said), default=0)
    return "\n".join(f"{path:<{width}}{GAP}{text}" for path, text in said)


def flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from flat(each, f"{above}{key}.")
        else:
            yield f"{above}{key}", each


def at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def cell(value: Any) -> str:
    if value in (None, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(cell, value)) or "-"
    return printable(json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value))


def printable(text: str) -> str:
    """One line that tells a terminal nothing: what other people say may hold its control sequences."""
    return "".join(char if char.isprintable() else " " for char in text)
