"""`DriftProfile`: the distributions of a model's inputs and outputs in training, stored as a small JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np

from predictors.drift import METADATA_KEY, PROFILE_FILE
from predictors.drift.binning import Array
from predictors.drift.variables import NUMERIC, Kind, Variable, describe
from predictors.flavor import MLmodel
from predictors.protocol.results import PREDICTIONS

FORMAT, VERSION = "mlflow-kserve drift profile", 1
MAX_FEATURES, MAX_OUTPUTS = 100, 20
"""The limits while a model is served: each variable is a few series in Prometheus."""
SUMMARY = ("mean", "std", "min", "max")


class ProfileError(Exception):
    """The profile cannot be used; the message is one line."""


@dataclass(frozen=True, eq=False)
class DriftProfile:
    rows: int
    features: tuple[Variable, ...]
    outputs: tuple[Variable, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "rows": self.rows,
            "features": {variable.name: variable.as_json() for variable in self.features},
            "outputs": {variable.name: variable.as_json() for variable in self.outputs},
        }

    # -- the bins of all variables, one after another ----------------------------------------------------------

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, *self.outputs)

    @cached_property
    def starts(self) -> Array:
        sizes = [len(variable.counts) for variable in self.variables]
        return np.cumsum([0, *sizes])[:-1]

    @cached_property
    def counts(self) -> Array:
        return np.concatenate([np.zeros(0, np.int64), *(variable.counts for variable in self.variables)])


def make_profile(frame: Any, predictions: Any = None, *, bins: int = 10) -> DriftProfile:
    columns = columns_of(frame)
    features = [describe(name, values, bins) for name, values in columns.items()]
    outputs = [describe(name, values, bins) for name, values in outputs_of(predictions).items()]
    rows = len(next(iter(columns.values()))) if columns else 0
    return DriftProfile(
        rows, tuple(variable for variable in features if variable), tuple(variable for variable in outputs if variable)
    )


def columns_of(frame: Any) -> dict[str, Any]:
    """The columns of a table, a dict or a matrix, by name."""
    if isinstance(frame, Mapping):
        return {str(name): values for name, values in frame.items()}
    if hasattr(frame, "columns") and hasattr(frame, "iloc"):
        return {str(name): frame.iloc[:, position] for position, name in enumerate(frame.columns)}
    matrix = np.asarray(frame)
    if matrix.ndim != 2:
        raise ProfileError(f"expected a table, a dict of columns or a matrix, got {type(frame).__name__}")
    return {str(position): matrix[:, position] for position in range(matrix.shape[1])}


def outputs_of(predictions: Any) -> dict[str, Any]:
    """Predictions as named columns: `probabilities[1]` is the column of the second class."""
    if predictions is None:
        return {}
    if hasattr(predictions, "columns") and hasattr(predictions, "iloc"):
        return columns_of(predictions)
    named = predictions if isinstance(predictions, Mapping) else {PREDICTIONS: predictions}
    columns: dict[str, Any] = {}
    for name, values in named.items():
        columns |= split_columns(str(name), values)
    return columns


def split_columns(name: str, values: Any) -> dict[str, Any]:
    """A column under its name, or the columns of a matrix under numbered names."""
    shape = np.shape(values) if hasattr(values, "shape") or not len(values) else np.shape(values[0])
    if hasattr(values, "shape") and len(shape) < 2:
        return {name: values}
    if not hasattr(values, "shape") and not shape:
        return {name: values}
    matrix = np.asarray(values)
    if matrix.ndim != 2:
        return {}
    if matrix.shape[1] == 1:
        return {name: matrix[:, 0]}
    return {f"{name}[{position}]": matrix[:, position] for position in range(min(matrix.shape[1], MAX_OUTPUTS))}


# -- reading ----------------------------------------------------------------------------------------------------


def read_profile(mlmodel: MLmodel) -> DriftProfile:
    """The profile that is stored with a model; raises `ProfileError`."""
    file = mlmodel.path / PROFILE_FILE
    if file.is_file():
        try:
            return parse_profile(file.read_text())
        except OSError as error:
            raise ProfileError(f"{PROFILE_FILE} cannot be read: {error.strerror}") from None
    content = (mlmodel.content.get("metadata") or {}).get(METADATA_KEY)
    return parse_profile(content if isinstance(content, str) else json.dumps(content, default=str))


def parse_profile(text: str) -> DriftProfile:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ProfileError("the drift profile is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ProfileError(f'the drift profile has no "format": "{FORMAT}"; make one with profile()')
    if content.get("version") != VERSION:
        raise ProfileError(f"the drift profile has version {content.get('version')!r}, expected {VERSION}")
    try:
        return DriftProfile(
            int(content["rows"]),
            tuple(parse_variable(str(name), entry) for name, entry in content["features"].items()),
            tuple(parse_variable(str(name), entry) for name, entry in content["outputs"].items()),
        )
    except ProfileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ProfileError(f"the drift profile cannot be used ({type(error).__name__}: {error})") from None


def parse_variable(name: str, content: Mapping[str, Any]) -> Variable:
    kind = content["kind"]
    if kind not in get_args(Kind):
        raise ProfileError(f"the drift profile has a column '{name}' of kind {kind!r}")
    edges = tuple(float(edge) for edge in content["edges"]) if kind in NUMERIC else ()
    values = tuple(str(value) for value in content["values"]) if kind not in NUMERIC else ()
    counts = np.array([*content["counts"], content["missing"]], np.int64)
    fits = len(counts) == len(edges or values) + 2 and counts.ndim == 1 and (counts >= 0).all()
    if not fits or list(edges) != sorted(set(edges)) or not np.isfinite(edges).all():
        raise ProfileError(f"the drift profile has a column '{name}' whose bins and counts do not fit together")
    return Variable(name, kind, counts, edges, values, {key: float(content[key]) for key in SUMMARY if key in content})
