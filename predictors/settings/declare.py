"""Declaring settings as dataclass fields, and reading them from flags and the environment."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import Field, fields
from dataclasses import field as dataclass_field
from typing import Any, NoReturn

from predictors.settings.values import names, port, seconds, size, truth

ENV_PREFIX = "MLFLOW_KSERVE_"
METAVARS: dict[Callable[[str], Any], str] = {
    truth: "BOOL", port: "PORT", seconds: "SECONDS", size: "SIZE", names: "NAMES", str: "TEXT",
}  # fmt: skip


class SettingError(Exception):
    """A setting that cannot be used; the message names it."""


def setting(
    default: Any,
    help: str,
    parse: Callable[[str], Any] = str,
    *,
    env: Sequence[str] = (),
    flags: Sequence[str] = (),
    group: str = "Server",
    shown: str | None = None,
    metavar: str | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field with a flag and environment variables; `shown` is the default as `--help` describes it."""
    metadata = {
        "help": help, "parse": parse, "env": tuple(env), "flags": tuple(flags), "group": group, "shown": shown,
        "metavar": metavar or METAVARS.get(parse, "WORD" if hasattr(parse, "choices") else "N"),
    }  # fmt: skip
    return dataclass_field(default=default, metadata=metadata, repr=not secret)


class SettingsParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leaves it to the program to report the error and to exit."""
        raise SettingError(message)


def flags_of(field: Field[Any]) -> list[str]:
    """All spellings of a setting's flags; those with hyphens first, since KServe's underscores are accepted too."""
    hyphenated = [f"--{field.name.replace('_', '-')}", *field.metadata["flags"]]
    return list(dict.fromkeys([*hyphenated, *("--" + flag[2:].replace("-", "_") for flag in hyphenated)]))


def env_of(field: Field[Any]) -> list[str]:
    return [*field.metadata["env"], ENV_PREFIX + field.name.upper()]


def default_of(field: Field[Any]) -> str:
    """The default as `--help` and the documentation show it."""
    shown: str | None = field.metadata["shown"]
    return shown or ("none" if field.default is None else str(field.default).lower())


def help_of(field: Field[Any]) -> str:
    choices = getattr(field.metadata["parse"], "choices", None)
    return f"{field.metadata['help']} ({', '.join(choices)})" if choices else str(field.metadata["help"])


def parser(prog: str, description: str, *, of: type[Any], fixed: Container[str] = ()) -> SettingsParser:
    """A parser with a flag for each setting in the dataclass `of`, except for the fixed ones."""
    parser = SettingsParser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
        epilog="Flags win over the environment. Flags may also be spelled with underscores (--model_name).",
    )
    groups: dict[str, Any] = {}
    for field in fields(of):
        if field.name in fixed:
            continue
        metadata = field.metadata
        if metadata["group"] not in groups:
            groups[metadata["group"]] = parser.add_argument_group(metadata["group"])
        hyphenated = [flag for flag in flags_of(field) if "_" not in flag]
        argument = groups[metadata["group"]].add_argument(
            *hyphenated,
            dest=field.name,
            default=argparse.SUPPRESS,
            metavar=metadata["metavar"],
            nargs="?" if metadata["parse"] is truth else None,
            const="true" if metadata["parse"] is truth else None,
            help=f"{help_of(field)} [{', '.join(env_of(field))}; default: {default_of(field)}]".replace("%", "%%"),
        )
        # Registered beside the argument, so that --help shows one spelling.
        for flag in set(flags_of(field)) - set(hyphenated):
            parser._option_string_actions[flag] = argument
    return parser


def read_values(
    parser: SettingsParser, argv: Sequence[str], environ: Mapping[str, str], of: type[Any], fixed: Container[str] = ()
) -> dict[str, Any]:
    """The values that flags and the environment give to settings that are not fixed; raises SettingError."""
    flags = vars(parser.parse_args(argv))
    values: dict[str, Any] = {}
    for field in fields(of):
        source, text = next(((name, environ[name]) for name in env_of(field) if environ.get(name)), (None, None))
        if field.name in flags:
            source, text = flags_of(field)[0], flags[field.name]
        if source is None or text is None or field.name in fixed:
            continue
        try:
            values[field.name] = field.metadata["parse"](text)
        except (ValueError, OverflowError) as error:
            reason = str(error) if str(error).startswith("expected") else f"expected a value like {field.default}"
            raise SettingError(f"{source}: {text!r} is not usable: {reason}") from None
    return values
