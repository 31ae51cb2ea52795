"""Reads tables from CSV, Parquet and JSON lines files, from folders of them, and from prediction logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from predictors.drift.binning import Array

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson", ".json")
INPUT, OUTPUT, PROBABILITY = "input.", "output.", "probability."
GROUPS = {"inputs": INPUT, "outputs": OUTPUT, "probabilities": PROBABILITY}
"""The objects of the log in JSON lines, and the prefixes of the same columns in Parquet."""


class UnusableData(Exception):
    """Files cannot be used; the message is one line."""


def read_table(location: str) -> pd.DataFrame:
    """The rows of all files as one table; cells of columns that a file lacks are missing."""
    return concatenate(read_tables(location))


def concatenate(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def read_tables(location: str) -> list[pd.DataFrame]:
    """The rows of all files; the rows of each table have the same columns."""
    parts, empty = [], True
    for name, open_file in list_files(location):
        empty = False
        try:
            with open_file() as file:
                parts += [part for part in read_file(name, file) if len(part)]
        except (ValueError, OSError, ImportError) as error:  # of pandas and of pyarrow
            raise UnusableData(f"{name} cannot be read: {first_line(error)}") from None
    if empty:
        raise UnusableData(f"{location} has no file that ends in {', '.join(SUFFIXES)}")
    if not parts:
        raise UnusableData(f"{location} has no rows")
    return parts


def list_files(location: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The name of each file, and a function that opens it."""
    if "://" in location:
        yield from remote_files(location)
        return
    path = Path(location)
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if is_wanted(file.relative_to(path).parts) and file.is_file():
                yield str(file), lambda file=file: file.open("rb")  # type: ignore[misc]
    elif path.exists():
        yield location, lambda: path.open("rb")
    else:
        raise UnusableData(f"there is no file or folder {location}")


def remote_files(location: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UnusableData(
            f"{location}: a URL needs fsspec, and what it needs for {location.partition(':')[0]}"
        ) from None
    try:
        system, path = url_to_fs(location)
        names = sorted(system.find(path))
    except (ImportError, ValueError, OSError) as error:
        raise UnusableData(f"{location} cannot be listed: {first_line(error)}") from None
    for name in names:
        if name == path or is_wanted(Path(name).relative_to(path).parts):
            yield name, lambda name=name: system.open(name, "rb")  # type: ignore[misc]


def is_wanted(parts: tuple[str, ...]) -> bool:
    """Whether to read a file; hidden files may be incomplete."""
    return parts[-1].endswith(SUFFIXES) and not any(part.startswith((".", "_")) for part in parts)


def read_file(name: str, file: IO[bytes]) -> list[pd.DataFrame]:
    import pandas as pd

    if name.endswith(".parquet"):
        return [pd.read_parquet(file)]
    if name.endswith(".csv"):
        return [pd.read_csv(file)]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in read_records(name, file):
        groups.setdefault(tuple(record), []).append(record)
    return [pd.DataFrame(group) for group in groups.values()]


def read_records(name: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines. Other lines are skipped, since a log on stdout is mixed with other output."""
    count, others = 0, 0
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            others += bool(line.strip())
            continue
        if isinstance(record, dict):
            count += 1
            yield flatten_record(record)
        else:
            others += 1
    if others and not count:
        raise UnusableData(f"{name} cannot be read: expected a JSON object in each line")


def flatten_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of the log with the columns that it has in Parquet; other records as they are."""
    if not any(isinstance(record.get(name), dict) for name in ("inputs", "outputs")):
        return dict(record)
    columns: dict[str, Any] = {}
    for name, value in record.items():
        prefix = GROUPS.get(name)
        if prefix is None:
            columns[name] = value
        else:
            parts = value.items() if isinstance(value, dict) else enumerate(value or ())
            columns |= {f"{prefix}{key}": cell for key, cell in parts}
    return columns


def is_log(frame: pd.DataFrame) -> bool:
    return any(str(name).startswith(INPUT) for name in frame.columns)


def split_log(frame: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and outputs of a prediction log, under the names that a profile has for them."""
    models = sorted(map(str, frame["model"].unique())) if "model" in frame else []
    if len(models) > 1:
        raise UnusableData(f"the log is of several models ({', '.join(models[:10])}): name the folder of one")
    features: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for location, name in enumerate(map(str, frame.columns)):
        values = frame.iloc[:, location]
        if name.startswith(INPUT):
            features[name.removeprefix(INPUT)] = values
        elif name.startswith(OUTPUT):
            outputs |= unfold(name.removeprefix(OUTPUT), values)
        elif name.startswith(PROBABILITY):
            outputs[f"probabilities[{name.removeprefix(PROBABILITY)}]"] = values
    return features, outputs


def rows_with_output(parts: Sequence[pd.DataFrame], output: str) -> Array:
    """The rows that could have an output: it is not missing from requests that asked for other outputs."""
    location = output.rpartition("[")[2].rstrip("]")
    names = {OUTPUT + output, OUTPUT + output.rpartition("[")[0]}
    if output == f"probabilities[{location}]":
        names.add(PROBABILITY + location)
    return np.repeat([not names.isdisjoint(map(str, part.columns)) for part in parts], [len(part) for part in parts])


def unfold(name: str, values: pd.Series[Any]) -> dict[str, Any]:
    """An output with several numbers per row as a column for each."""
    widths = {len(cell) for cell in values if hasattr(cell, "__len__") and not isinstance(cell, (str, bytes))}
    if not widths:
        return {name: values}
    cells = [list(cell) if hasattr(cell, "__len__") else [] for cell in values]
    return {
        f"{name}[{location}]": [cell[location] if location < len(cell) else None for cell in cells]
        for location in range(min(max(widths), 100))
    }


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def reporting_write_errors(file: str) -> Iterator[None]:
    """Turns errors of writing a file into `UnusableData`, which is reported without a traceback."""
    try:
        yield
    except OSError as error:
        raise UnusableData(f"{file} cannot be written: {error.strerror}") from None
