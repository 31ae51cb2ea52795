"""Groups of commands that import a command when it is called, and not before: the command starts at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click


class CommandEntry(NamedTuple):
    """A command, as its group lists it."""

    where: str
    """Its module and its name there, such as `mlflow_kserve.cli.serves:serve`."""
    help: str


class LazyGroup(click.Group):
    """A group whose commands are named in a table."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, CommandEntry]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.sections = sections
        self.entries = {name: entry for entries in sections.values() for name, entry in entries.items()}

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.entries:
            return None
        module, _, attribute = self.entries[name].where.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0].replace("_", "-")
        if name not in self.entries and not context.resilient_parsing:
            self.refuse(context, name)
        return super().resolve_command(context, [name, *args[1:]])

    def refuse(self, context: click.Context, name: str) -> NoReturn:
        close = difflib.get_close_matches(name, self.entries, n=1)
        guess = f"did you mean {close[0]}?" if close else "--help lists the commands"
        raise click.UsageError(f"there is no command {name!r}: {guess}", context)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])
