"""Declaring settings as dataclass fields, and reading them from flags and the environment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import Field, field, fields
from typing import Any, NoReturn

from predictors.access.addresses import networks
from predictors.access.limits import rate
from predictors.settings.values import names, port, seconds, size, truth
from predictors.telemetry.logs import error_line

ENV_PREFIX = "MLFLOW_KSERVE_"


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
    words = {truth: "BOOL", port: "PORT", seconds: "SECONDS", size: "SIZE", names: "NAMES", str: "TEXT", rate: "RATE",
             networks: "NETWORKS"}  # fmt: skip
    metadata = {
        "help": help, "parse": parse, "env": tuple(env), "flags": tuple(flags), "group": group, "shown": shown,
        "metavar": metavar or words.get(parse, "WORD" if hasattr(parse, "choices") else "N"),
    }  # fmt: skip
    return field(default=default, metadata=metadata, repr=not secret)


class SettingsParser(argparse.ArgumentParser):
    json_lines = False
    """Whether even this is said in JSON."""

    def error(self, message: str) -> NoReturn:
        text = f"{self.prog}: {message}"
        print(error_line(text) if self.json_lines else f"{text}\nTry {self.prog} --help.", file=sys.stderr)
        raise SystemExit(2)


def flags_of(one: Field[Any]) -> list[str]:
    """Hyphens first; KServe's underscores are the same flag."""
    spelled = [f"--{one.name.replace('_', '-')}", *one.metadata["flags"]]
    return list(dict.fromkeys([*spelled, *("--" + flag[2:].replace("-", "_") for flag in spelled)]))


def env_of(one: Field[Any]) -> list[str]:
    return [*one.metadata["env"], ENV_PREFIX + one.name.upper()]


def parser(prog: str, description: str, forced_flavor: str | None = None, *, of: type[Any]) -> SettingsParser:
    made = SettingsParser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
        epilog="Flags win over the environment. Flags may also be spelled with underscores (--model_name).",
    )
    groups: dict[str, Any] = {}
    for one in fields(of):
        if one.name == "flavor" and forced_flavor:
            continue
        metadata = one.metadata
        group = groups.setdefault(metadata["group"], None) or made.add_argument_group(metadata["group"])
        groups[metadata["group"]] = group
        default = metadata["shown"] or ("none" if one.default is None else str(one.default).lower())
        choices = getattr(metadata["parse"], "choices", None)
        allowed = f" ({', '.join(choices)})" if choices else ""
        hyphened = [flag for flag in flags_of(one) if "_" not in flag]
        argument = group.add_argument(
            *hyphened,
            dest=one.name,
            default=argparse.SUPPRESS,
            metavar=metadata["metavar"],
            nargs="?" if metadata["parse"] is truth else None,
            const="true" if metadata["parse"] is truth else None,
            help=f"{metadata['help']}{allowed} [{', '.join(env_of(one))}; default: {default}]".replace("%", "%%"),
        )
        # Registered beside the argument, so that --help shows one spelling.
        for flag in set(flags_of(one)) - set(hyphened):
            made._option_string_actions[flag] = argument
    return made


def given_values(
    made: SettingsParser, argv: Sequence[str], environ: Mapping[str, str], of: type[Any], fixed: Container[str] = ()
) -> dict[str, Any]:
    """What flags and environment say of the settings that are not fixed."""
    made.json_lines = wants_json(argv, environ)
    given = vars(made.parse_args(argv))
    values: dict[str, Any] = {}
    for one in fields(of):
        source, text = next(((name, environ[name]) for name in env_of(one) if environ.get(name)), (None, None))
        if one.name in given:
            source, text = flags_of(one)[0], given[one.name]
        if source is None or text is None or one.name in fixed:
            continue
        try:
            values[one.name] = one.metadata["parse"](text)
        except (ValueError, OverflowError) as error:
            reason = str(error) if str(error).startswith("expected") else f"expected a value like {one.default}"
            made.error(f"{source}: {text!r} is not usable: {reason}")
    return values


def wants_json(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """What is said of settings that cannot be used is said in the form that one of them asks for."""
    words = " ".join(argv).replace("=", " ").replace("log_format", "log-format")
    _, flag, rest = words.rpartition("--log-format ")
    return (rest.split() or [""])[0] == "json" if flag else environ.get(ENV_PREFIX + "LOG_FORMAT") == "json"
