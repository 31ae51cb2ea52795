"""Writes the table in docs/spec.md from the models of the spec: `python tools/spec_page.py`."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal, get_args, get_origin

from generator.spec.values import Part
from generator.specfile.fields import Declared, declared, members

PAGE = Path(__file__).parent.parent / "docs" / "spec.md"
START, END = "<!-- table: tools/spec_page.py -->", "<!-- end of table -->"
KINDS = {str: "text", int: "whole number", float: "number", bool: "true, false"}


def takes(annotation: Any) -> str:
    """The kinds of values that the field takes."""
    kinds = []
    for one in members(annotation):
        if one is type(None):
            continue
        if get_origin(one) is Literal:
            kinds.append(", ".join(f"`{word}`" for word in get_args(one)))
        elif get_origin(one) is list:
            kinds.append("list")
        elif get_origin(one) is dict:
            kinds.append("mapping")
        elif isinstance(one, type) and issubclass(one, Part):
            kinds.append("fields")
        else:
            kinds.append(KINDS.get(one, "anything"))
    return " or ".join(dict.fromkeys(kinds))


def default(field: Declared) -> str:
    if field.info.is_required():
        return "required"
    value = field.default
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, Part):
        return ""
    if isinstance(value, dict):
        return ", ".join(f"`{key}`" for key in value)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def name(field: Declared) -> str:
    """`scaling.schedule[].start`, `env.<name>.secret`."""
    text = ""
    for part in field.path:
        text += "[]" if part == 0 else f".{part}" if text else str(part)
    return text


def meaning(field: Declared) -> str:
    """The description, beginning with a small letter, and escaped for Markdown."""
    text = field.description
    if not field.info.description and text[1:2] in (" ", *ascii_lowercase) and not text.startswith("OpenTelemetry"):
        text = text[:1].lower() + text[1:]
    return text.replace("*", "\\*")


def table() -> str:
    lines = ["| field | takes | default | meaning |", "|---|---|---|---|"]
    seen = set()
    for field in declared():
        row = f"| `{name(field)}` | {takes(field.info.annotation)} | {default(field)} | {meaning(field)} |"
        if row not in seen:
            lines.append(row)
        seen.add(row)
    return "\n".join(lines)


def page(text: str) -> str:
    head, rest = text.split(START)
    return f"{head}{START}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
