"""The settings of the clean-up: few, and of its own, since its image holds no server."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from predictors.cleanup.pods import EVERYWHERE, SERVICE_ACCOUNT

PROG = "python -m predictors.cleanup"
ENV_PREFIX = "MLFLOW_KSERVE_"
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Settings:
    cache_path: Path
    namespace: str
    ttl_days: float
    max_size_gb: float
    min_age_minutes: float
    dry_run: bool
    json: bool


def number(expected: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not value >= 0:
            raise ValueError(expected)
        return value

    return parse


def truth(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")


def folder(text: str) -> Path:
    found = Path(text)
    if not found.is_dir():
        raise ValueError("there is no such folder; expected the one where the volume with the cache is mounted")
    return found.resolve()


def namespace(text: str) -> str:
    if text != EVERYWHERE and not NAMESPACE.fullmatch(text):
        raise ValueError(f"expected the name of a namespace, or {EVERYWHERE} for all of them")
    return text


def own_namespace(environ: Mapping[str, str]) -> str | None:
    try:
        return environ.get("POD_NAMESPACE") or (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    default: str | None
    parse: Callable[[str], Any]
    metavar: str
    help: str
    shown: str | None = None

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def env(self) -> tuple[str, str]:
        return self.name.upper(), ENV_PREFIX + self.name.upper()


SETTINGS = (
    Setting("cache_path", "/model-cache", folder, "FOLDER", "where the volume with the cache is mounted"),
    Setting(
        "namespace", None, namespace, "NAME", f"whose pods may use the cache; '{EVERYWHERE}' for all namespaces",
        shown="that of the pod",
    ),
    Setting(
        "ttl_days", "7", number("expected a number of days, 0 or more, such as 7 or 0.5"), "DAYS",
        "entries that nobody used for longer are removed; inf for none",
    ),
    Setting(
        "max_size_gb", "0", number("expected a number of GB (1000 MB), 0 or more, such as 50 or 0.5"), "GB",
        "a larger cache loses the least recently used entries, 1 GB being 10^9 bytes; 0 for no limit",
    ),
    Setting(
        "min_age_minutes", "60", number("expected a number of minutes, 0 or more"), "MINUTES",
        "entries used more recently are not removed for the size",
    ),
    Setting("dry_run", "false", truth, "BOOL", "say what would be removed, and touch nothing"),
    Setting("json", "false", truth, "BOOL", "write the report as one JSON object"),
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> Parser:
    made = Parser(
        prog=PROG,
        description="Remove from a model cache what no pod uses any more.",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
        epilog="Flags win over the environment. Flags may also be spelled with underscores (--cache_path).",
    )
    for one in SETTINGS:
        argument = made.add_argument(
            one.flag,
            dest=one.name,
            default=argparse.SUPPRESS,
            metavar=one.metavar,
            nargs="?" if one.parse is truth else None,
            const="true" if one.parse is truth else None,
            help=f"{one.help} [{', '.join(one.env)}; default: {one.shown or one.default}]",
        )
        # Registered beside the argument, so that --help shows one spelling.
        made._option_string_actions[f"--{one.name}"] = argument
    return made


def read_settings(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Flags over environment over defaults; ends the process with 2 and one line on a bad one."""
    made = parser()
    given = vars(made.parse_args(argv))
    values: dict[str, Any] = {}
    for one in SETTINGS:
        named = [(name, environ[name]) for name in one.env if environ.get(name)]
        default = own_namespace(environ) if one.name == "namespace" else one.default
        source, text = (one.flag, given[one.name]) if one.name in given else (*named, (one.env[0], default))[0]
        if text is None:
            made.error("NAMESPACE: whose pods use the cache? Outside of a pod there is no default")
        try:
            values[one.name] = one.parse(text)
        except ValueError as error:
            made.error(f"{source}: {text!r} is not usable: {error}")
    return Settings(**values)
