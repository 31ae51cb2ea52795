"""Writes the tables of settings in docs/: `python -m tools.settings_page`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from predictors.pipeline.settings import Settings
from predictors.settings.declare import default_of, env_of, flags_of, help_of
from predictors.storage.settings import StorageSettings

DOCS = Path(__file__).parent.parent / "docs"
PAGES: dict[Path, type[Any]] = {DOCS / "settings.md": Settings, DOCS / "storage.md": StorageSettings}
START, END = "<!-- table: tools/settings_page.py -->", "<!-- end of table -->"


def table(of: type[Any]) -> str:
    lines = ["| flag | environment | default | meaning |", "|---|---|---|---|"]
    for field in fields(of):
        flags = ", ".join(f"`{flag}`" for flag in flags_of(field) if "_" not in flag)
        environment = ", ".join(f"`{name}`" for name in env_of(field))
        lines.append(f"| {flags} | {environment} | {default_of(field)} | {help_of(field)} |")
    return "\n".join(lines)


def page(text: str, of: type[Any]) -> str:
    head, rest = text.split(START)
    return f"{head}{START}\n\n{table(of)}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    for file, settings in PAGES.items():
        file.write_text(page(file.read_text(), settings))
