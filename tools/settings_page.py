"""Makes the table in docs/settings.md from the settings themselves: `python tools/settings_page.py`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from predictors.settings import Settings, env_of, flags_of

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
START, END = "<!-- table: tools/settings_page.py -->", "<!-- end of table -->"


def table() -> str:
    lines = ["| flag | environment | default | meaning |", "|---|---|---|---|"]
    for one in fields(Settings):
        metadata = one.metadata
        flags = ", ".join(f"`{flag}`" for flag in flags_of(one) if "_" not in flag)
        environment = ", ".join(f"`{name}`" for name in env_of(one))
        default = metadata["shown"] or ("none" if one.default is None else str(one.default).lower())
        choices = getattr(metadata["parse"], "choices", None)
        meaning = metadata["help"] + (f" ({', '.join(choices)})" if choices else "")
        lines.append(f"| {flags} | {environment} | {default} | {meaning} |")
    return "\n".join(lines)


def page(text: str) -> str:
    head, rest = text.split(START)
    return f"{head}{START}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
