"""Log lines on stderr, as text or as JSON, with the ids of the request that they belong to."""

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
MAX_TEXT = 8192  # characters
MAX_LINE = 65536  # bytes; of a longer line, nested values are written as texts and cut
RECORD_ATTRIBUTES = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"))
KEYS = frozenset({"time", "level", "logger", "worker", "request_id", "trace_id", "span_id", "exception", "stack"})

worker: int | None = None
"""The number of this process, if there are several."""


def configure(log_format: str, level: str) -> None:
    """Logs to stderr: our own records from `level` on, those of libraries from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONLines() if log_format == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("predictors").setLevel(level.upper())
    if log_format == "json":
        capture_output()


def capture_output() -> None:
    """Also logs what libraries and Python itself would otherwise write to stderr in formats of their own."""
    os.environ["MLFLOW_CONFIGURE_LOGGING"] = "false"  # MLflow would add its own handler
    logging.setLoggerClass(HandlerlessLogger)
    logging.captureWarnings(True)
    sys.excepthook = log_uncaught
    threading.excepthook = lambda args: log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("predictors").critical("uncaught: %s", kind.__name__, exc_info=(kind, error, trace))


class HandlerlessLogger(logging.Logger):
    """A logger for libraries that add console handlers of their own: it drops these and propagates to ours."""

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
    """One JSON object per record, always on one line."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception as error:  # the arguments do not fit the message; the rest is still useful
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
            if name not in RECORD_ATTRIBUTES and name not in KEYS:
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
        encoded = orjson.dumps(fields, default=text_of)
        if len(encoded) < MAX_LINE:
            return encoded.decode().replace("\x85", r"\u0085").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
    except TypeError:  # surrogates, integers beyond 64 bits, nesting that is too deep
        pass
    return json.dumps({plain(name): value if type(value) is int else plain(value) for name, value in fields.items()})


def error_line(message: str) -> str:
    """A log line for an error before logging is configured."""
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
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def cut_front(text: str) -> str:
    """Keeps the end, which says most in a traceback."""
    return text if len(text) <= MAX_TEXT else f"…{text[-MAX_TEXT:]}"
