"""The settings of log lines, and how a program reports a setting that it cannot use."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from predictors.settings.declare import ENV_PREFIX, SettingError, setting
from predictors.settings.values import choice, truth
from predictors.telemetry.logs import FORMATS, error_line


@dataclass(frozen=True)
class LogSettings:
    access_log: bool = setting(False, "log a line for each request", truth)
    log_level: str = setting("info", "log level", choice("debug", "info", "warning", "error"))
    log_format: str = setting(
        "text", "write log lines as text or as JSON objects", choice(*FORMATS), group="Observability"
    )


class ServiceSettings(Protocol):
    """The settings that identify a process in telemetry."""

    @property
    def model_name(self) -> str: ...
    @property
    def workers(self) -> int: ...


def refuse(error: SettingError, prog: str, argv: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Ends the process with status 2 and a line on stderr, in the log format that was asked for."""
    text = f"{prog}: {error}"
    print(error_line(text) if wants_json(argv, environ) else f"{text}\nTry {prog} --help.", file=sys.stderr)
    raise SystemExit(2) from None


def wants_json(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether the log format is JSON, read without a parser: the settings may be what is broken."""
    flags = " ".join(argv).replace("=", " ").replace("log_format", "log-format")
    _, flag, rest = flags.rpartition("--log-format ")
    return (rest.split() or [""])[0] == "json" if flag else environ.get(ENV_PREFIX + "LOG_FORMAT") == "json"
