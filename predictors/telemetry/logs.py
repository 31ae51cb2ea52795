"""Log lines: one for each event on stderr, as text or as JSON, with the ids of the request that they are about."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson

from predictors.telemetry.exchange import current

FORMATS = ("text", "json")
MOST, MAX_LINE = 8192, 65536  # characters of a text, and bytes of a line before all in it are texts
OWN = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"))
KEYS = frozenset({"time", "level", "logger", "worker", "request_id", "trace_id", "span_id", "exception", "stack"})

worker: int | None = None
"""The number of this process where there are several."""


def configure(log_format: str, level: str) -> None:
    """Everything that is logged goes to stderr; other libraries speak from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONLines() if log_format == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("predictors").setLevel(level.upper())
    if log_format == "json":
        take_over()


def take_over() -> None:
    """What libraries and Python itself would write in forms of their own is logged, too."""
    os.environ["MLFLOW_CONFIGURE_LOGGING"] = "false"  # it brings a handler of its own
    logging.setLoggerClass(Quiet)
    logging.captureWarnings(True)
    sys.excepthook = log_uncaught
    threading.excepthook = lambda args: log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("predictors").critical("uncaught: %s", kind.__name__, exc_info=(kind, error, trace))


class Quiet(logging.Logger):
    """Loggers of libraries that bring handlers for the console, and then keep their lines from ours."""

    def addHandler(self, hdlr: logging.Handler) -> None:
        if getattr(hdlr, "stream", None) not in (sys.stderr, sys.stdout):
            super().addHandler(hdlr)

    @property
    def propagate(self) -> bool:
        return self.passes_on or not self.handlers

    @propagate.setter
    def propagate(self, value: bool) -> None:
        self.passes_on = value


class TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        exchange = current.get()
        line = super().formatMessage(record)
        return line if exchange is None else f"{line} (request {exchange.ids.request_id.decode()})"


class JSONLines(logging.Formatter):
    """One JSON object for each record, on one line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception as error:  # arguments that do not fit: the rest is still worth a line
            message = f"{record.msg!r} {type(error).__name__}"
        fields: dict[str, Any] = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": cut(message),
            "process": os.getpid(),
        }
        if worker is not None:
            fields["worker"] = worker
        exchange = current.get()
        if exchange is not None:
            fields["request_id"] = exchange.ids.request_id.decode()
            if exchange.ids.traceparent:
                fields |= {"trace_id": exchange.ids.trace_id, "span_id": exchange.ids.span_id}
        for name, value in vars(record).items():
            if name not in OWN and name not in KEYS:
                fields[name] = cut(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = cut_front(self.formatException(record.exc_info))
        elif record.exc_text:
            fields["exception"] = cut_front(record.exc_text)
        if record.stack_info:
            fields["stack"] = cut_front(self.formatStack(record.stack_info))
        return line(fields)


def line(fields: dict[str, Any]) -> str:
    try:
        made = orjson.dumps(fields, default=text_of)
        if len(made) < MAX_LINE:
            return made.decode().replace("\x85", r"\u0085").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
    except TypeError:  # texts that are not Unicode, numbers without end, nests without a floor
        pass
    return json.dumps({plain(name): value if type(value) is int else plain(value) for name, value in fields.items()})


def error_line(message: str) -> str:
    """For what goes wrong before anything can be logged."""
    return JSONLines().format(logging.makeLogRecord({"name": "predictors", "levelname": "ERROR", "msg": message}))


def plain(value: object) -> str:
    return cut(text_of(value).encode("utf-8", "backslashreplace").decode())


def text_of(value: object) -> str:
    try:
        return cut(str(value))
    except Exception:
        return f"<{type(value).__name__}>"


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text)} characters)"


def cut_front(text: str) -> str:
    """Of a traceback the end says most."""
    return text if len(text) <= MOST else f"…{text[-MOST:]}"
