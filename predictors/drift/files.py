"""Tables from files: CSV, Parquet, JSON lines, folders of them, and the prediction log."""

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
"""What the log nests in JSON lines, and the prefix of the columns that it has for them in Parquet."""


class UnusableData(Exception):
    """Files that cannot be used; the message is one line."""


def table(place: str) -> pd.DataFrame:
    """All files of a place, one below the other; columns that some lack are missing there."""
    return together(tables(place))


def together(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def tables(place: str) -> list[pd.DataFrame]:
    """The rows of all files of a place; those of each table have the same columns."""
    found, empty = [], True
    for name, open_file in files(place):
        empty = False
        try:
            with open_file() as file:
                found += [part for part in read(name, file) if len(part)]
        except (ValueError, OSError, ImportError) as error:  # of pandas and of pyarrow
            raise UnusableData(f"{name} cannot be read: {first_line(error)}") from None
    if empty:
        raise UnusableData(f"{place} has no file that ends in {', '.join(SUFFIXES)}")
    if not found:
        raise UnusableData(f"{place} has no rows")
    return found


def files(place: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The names of the files of a place and how each is opened."""
    if "://" in place:
        yield from remote_files(place)
        return
    path = Path(place)
    if path.is_dir():
        for one in sorted(path.rglob("*")):
            if is_wanted(one.relative_to(path).parts) and one.is_file():
                yield str(one), lambda one=one: one.open("rb")  # type: ignore[misc]
    elif path.exists():
        yield place, lambda: path.open("rb")
    else:
        raise UnusableData(f"there is no file or folder {place}")


def remote_files(place: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UnusableData(f"{place}: a URL needs fsspec, and what it needs for {place.partition(':')[0]}") from None
    try:
        system, path = url_to_fs(place)
        names = sorted(system.find(path))
    except (ImportError, ValueError, OSError) as error:
        raise UnusableData(f"{place} cannot be listed: {first_line(error)}") from None
    for name in names:
        if name == path or is_wanted(Path(name).relative_to(path).parts):
            yield name, lambda name=name: system.open(name, "rb")  # type: ignore[misc]


def is_wanted(parts: tuple[str, ...]) -> bool:
    """Hidden files are not complete yet."""
    return parts[-1].endswith(SUFFIXES) and not any(part.startswith((".", "_")) for part in parts)


def read(name: str, file: IO[bytes]) -> list[pd.DataFrame]:
    import pandas as pd

    if name.endswith(".parquet"):
        return [pd.read_parquet(file)]
    if name.endswith(".csv"):
        return [pd.read_csv(file)]
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in records(name, file):
        alike.setdefault(tuple(one), []).append(one)
    return [pd.DataFrame(group) for group in alike.values()]


def records(name: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Objects, a line each; other lines are passed over, since the log shares its place with what else is printed."""
    found, others = 0, 0
    for line in lines:
        try:
            one = json.loads(line)
        except (ValueError, RecursionError):
            others += bool(line.strip())
            continue
        if isinstance(one, dict):
            found += 1
            yield flattened(one)
        else:
            others += 1
    if others and not found:
        raise UnusableData(f"{name} cannot be read: expected a JSON object in each line")


def flattened(record: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the log with the columns that it has in Parquet; anything else as it is."""
    if not any(isinstance(record.get(name), dict) for name in ("inputs", "outputs")):
        return dict(record)
    flat: dict[str, Any] = {}
    for name, value in record.items():
        prefix = GROUPS.get(name)
        if prefix is None:
            flat[name] = value
        else:
            parts = value.items() if isinstance(value, dict) else enumerate(value or ())
            flat |= {f"{prefix}{key}": cell for key, cell in parts}
    return flat


def is_log(frame: pd.DataFrame) -> bool:
    return any(str(name).startswith(INPUT) for name in frame.columns)


def logged(frame: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and the outputs of a prediction log, with the names that a profile has for them."""
    models = sorted(map(str, frame["model"].unique())) if "model" in frame else []
    if len(models) > 1:
        raise UnusableData(f"the log is of several models ({', '.join(models[:10])}): name the folder of one")
    features: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for place, name in enumerate(map(str, frame.columns)):
        values = frame.iloc[:, place]
        if name.startswith(INPUT):
            features[name.removeprefix(INPUT)] = values
        elif name.startswith(OUTPUT):
            outputs |= unfolded(name.removeprefix(OUTPUT), values)
        elif name.startswith(PROBABILITY):
            outputs[f"probabilities[{name.removeprefix(PROBABILITY)}]"] = values
    return features, outputs


def answered(parts: Sequence[pd.DataFrame], output: str) -> Array:
    """Which rows could have an output: requests that asked for other ones did not miss it."""
    place = output.rpartition("[")[2].rstrip("]")
    names = {OUTPUT + output, OUTPUT + output.rpartition("[")[0]}
    if output == f"probabilities[{place}]":
        names.add(PROBABILITY + place)
    return np.repeat([not names.isdisjoint(map(str, part.columns)) for part in parts], [len(part) for part in parts])


def unfolded(name: str, values: pd.Series[Any]) -> dict[str, Any]:
    """An output of several numbers as a column for each."""
    widths = {len(cell) for cell in values if hasattr(cell, "__len__") and not isinstance(cell, (str, bytes))}
    if not widths:
        return {name: values}
    cells = [list(cell) if hasattr(cell, "__len__") else [] for cell in values]
    return {
        f"{name}[{place}]": [cell[place] if place < len(cell) else None for cell in cells]
        for place in range(min(max(widths), 100))
    }


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """A file that cannot be written is no reason for a traceback."""
    try:
        yield
    except OSError as error:
        raise UnusableData(f"{what} cannot be written: {error.strerror}") from None
