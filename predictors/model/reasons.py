"""Why a model refuses its input, in the words of scikit-learn, MLflow and pydantic, with the data taken out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from predictors.protocol.names import MAX_LISTED

NUMPY_SCALAR = re.compile(r"np\.\w+\(([^()]*)\)")
CATEGORIES = re.compile(r"Found unknown categories (\[.*\]) in column \d+", re.DOTALL)
WIDTH = re.compile(r"has (\d+) features, but (\w+) is expecting (\d+) features")
TYPE = re.compile(r"Expected (?:type )?([\w.\[\], |]+), but got (\w+)")
FIELD = re.compile(
    r"`(\w+)` (is required|must be of type \w+, got \w+|must be a list(?:, got \w+)?)"
    r"|All items in `(\w+)` (must be of type \w+)"
)
VALIDATED = re.compile(r"\n([\w.]+)\n  ((?:Input should be a|Field required|Extra inputs)[\w ]*)")
ELEMENTS = "invalid elements: [("
MAX_MESSAGE = 100_000  # characters: a message may hold all of the data
OF_MLFLOW = ("mlflow", "pydantic", "predictors", "functools", "contextlib", "concurrent")


def reason(error: BaseException, data: Any) -> str | None:
    """What was wrong and where; None where the message does not say it in words that are known."""
    message = str(error)[:MAX_MESSAGE]
    if match := CATEGORIES.search(message):
        return unknown_category(match[1], data)
    if match := WIDTH.search(message):
        return f"{match[2]} takes {match[3]} columns, got {match[1]}"
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        return invalid_field(error)
    if "type hint" in message or message.startswith("Expected "):
        return violated_hint(message, data)
    if match := FIELD.search(message):
        return f"'{match[1] or match[3]}' {match[2] or match[4]}"
    return None


def unknown_category(listed: str, data: Any) -> str | None:
    """The cell with one of the categories, which the message lists; several columns may hold the value."""
    try:
        unknown = set(ast.literal_eval(NUMPY_SCALAR.sub(r"\1", listed)))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    first: dict[str, int] = {}
    for name, cells in named_columns(data):
        row = next((row for row, cell in enumerate(cells) if is_among(cell, unknown)), None)
        if row is not None:
            first[name] = row
    if not first:
        return None
    where = " or ".join(f"input '{name}', row {row}" for name, row in [*first.items()][:MAX_LISTED])
    return f"{where}: the model was not trained with this category"


def named_columns(data: Any) -> Iterable[tuple[str, list[Any]]]:
    if hasattr(data, "columns"):
        yield from ((str(name), data.iloc[:, position].tolist()) for position, name in enumerate(data.columns))
    elif getattr(data, "ndim", 0) == 2:
        yield from ((str(position), cells) for position, cells in enumerate(data.T.tolist()))


def is_among(cell: Any, values: set[Any]) -> bool:
    return isinstance(cell, (str, int, float)) and cell in values


def invalid_field(error: Any) -> str | None:
    """Of a class of MLflow's, or of the model's own."""
    first = next(iter(error.errors(include_url=False, include_context=False)), None)
    if first is None:
        return None
    path = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or str(part).isidentifier())
    words = str(first["msg"]).removeprefix("Value error, ")
    if any(text in words for text in texts_in(first["input"])):
        words = "is not valid"
    return f"'{path}': {words}" if path else words


def texts_in(value: Any) -> Iterable[str]:
    """What must not be in a message: the texts and numbers of the data, at any depth."""
    if isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)
    elif value is not None:
        yield str(value)


def violated_hint(message: str, data: Any) -> str | None:
    rows = data if isinstance(data, list) else []
    start = message.find(ELEMENTS) + len(ELEMENTS)
    row = next((row for row, value in enumerate(rows) if message.startswith(f"{str(value)!r},", start)), None)
    where = "" if row is None else f"row {row}: "
    if match := VALIDATED.search(message.replace("\\n", "\n")):
        return f"{where}'{match[1]}': {match[2].strip()}"
    match = TYPE.search(message)
    return f"{where}expected {match[1]}, got {match[2]}" if match else None


def is_raised_by_mlflow(error: BaseException) -> bool:
    """Whether MLflow's own classes refused the input, before the code of the model saw it."""
    last, traceback = "", error.__traceback__
    for name in modules(traceback):
        if not name.startswith(OF_MLFLOW):
            return False
        last = name
    return last.startswith(("mlflow.types", "pydantic"))


def modules(traceback: TracebackType | None) -> Iterable[str]:
    while traceback is not None:
        yield str(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
