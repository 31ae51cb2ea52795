"""Makes the tables of docs/ from the settings themselves: `python tools/settings_page.py`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from predictors.settings.declare import env_of, flags_of
from predictors.settings.predictor import Settings
from predictors.storage.settings import StorageSettings

DOCS = Path(__file__).parent.parent / "docs"
PAGES: dict[Path, type[Any]] = {DOCS / "settings.md": Settings, DOCS / "storage.md": StorageSettings}
START, END = "<!-- table: tools/settings_page.py -->", "<!-- end of table -->"


def table(of: type[Any]) -> str:
    lines = ["| flag | environment | default | meaning |", "|---|---|---|---|"]
    for one in fields(of):
        metadata = one.metadata
        flags = ", ".join(f"`{flag}`" for flag in flags_of(one) if "_" not in flag)
        environment = ", ".join(f"`{name}`" for name in env_of(one))
        default = metadata["shown"] or ("none" if one.default is None else str(one.default).lower())
        choices = getattr(metadata["parse"], "choices", None)
        meaning = metadata["help"] + (f" ({', '.join(choices)})" if choices else "")
        lines.append(f"| {flags} | {environment} | {default} | {meaning} |")
    return "\n".join(lines)


def page(text: str, of: type[Any]) -> str:
    head, rest = text.split(START)
    return f"{head}{START}\n\n{table(of)}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    for file, settings in PAGES.items():
        file.write_text(page(file.read_text(), settings))
