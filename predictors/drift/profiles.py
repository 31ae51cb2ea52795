"""The profile of a model: what its inputs and outputs looked like in training, as a small JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np

from predictors.drift import FILE, KEY
from predictors.drift.binning import Array
from predictors.drift.variables import NUMERIC, Kind, Variable, described
from predictors.flavor import MLmodel
from predictors.protocol.results import PREDICTIONS

FORMAT, VERSION = "mlflow-kserve drift profile", 1
MAX_FEATURES, MAX_OUTPUTS = 100, 20
"""What is measured while a model serves: each is a few series in Prometheus."""
SUMMARY = ("mean", "std", "min", "max")


class ProfileError(Exception):
    """A profile that cannot be used; the message is one line."""


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
            "features": {one.name: one.as_json() for one in self.features},
            "outputs": {one.name: one.as_json() for one in self.outputs},
        }

    # -- all bins of all variables, one after another ---------------------------------------------------------

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, *self.outputs)

    @cached_property
    def starts(self) -> Array:
        sizes = [len(one.counts) for one in self.variables]
        return np.cumsum([0, *sizes])[:-1]

    @cached_property
    def counts(self) -> Array:
        return np.concatenate([np.zeros(0, np.int64), *(one.counts for one in self.variables)])


def made(frame: Any, predictions: Any = None, *, bins: int = 10) -> DriftProfile:
    columns = columns_of(frame)
    features = [described(name, values, bins) for name, values in columns.items()]
    outputs = [described(name, values, bins) for name, values in outputs_of(predictions).items()]
    rows = len(next(iter(columns.values()))) if columns else 0
    return DriftProfile(rows, tuple(one for one in features if one), tuple(one for one in outputs if one))


def columns_of(frame: Any) -> dict[str, Any]:
    """The columns of a table, a dict or a matrix, by name."""
    if isinstance(frame, Mapping):
        return {str(name): values for name, values in frame.items()}
    if hasattr(frame, "columns") and hasattr(frame, "iloc"):
        return {str(name): frame.iloc[:, place] for place, name in enumerate(frame.columns)}
    matrix = np.asarray(frame)
    if matrix.ndim != 2:
        raise ProfileError(f"expected a table, a dict of columns or a matrix, got {type(frame).__name__}")
    return {str(place): matrix[:, place] for place in range(matrix.shape[1])}


def outputs_of(predictions: Any) -> dict[str, Any]:
    """Outputs by name, with a column each: `probabilities[1]` is that of the second class."""
    if predictions is None:
        return {}
    if hasattr(predictions, "columns") and hasattr(predictions, "iloc"):
        return columns_of(predictions)
    named = predictions if isinstance(predictions, Mapping) else {PREDICTIONS: predictions}
    found: dict[str, Any] = {}
    for name, values in named.items():
        found |= flat(str(name), values)
    return found


def flat(name: str, values: Any) -> dict[str, Any]:
    """A column, or those of a matrix."""
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
    return {f"{name}[{place}]": matrix[:, place] for place in range(min(matrix.shape[1], MAX_OUTPUTS))}


# -- reading ----------------------------------------------------------------------------------------------------


def profile_of(mlmodel: MLmodel) -> DriftProfile:
    """What the model brings along; raises `ProfileError`."""
    file = mlmodel.path / FILE
    if file.is_file():
        try:
            return parsed(file.read_text())
        except OSError as error:
            raise ProfileError(f"{FILE} cannot be read: {error.strerror}") from None
    content = (mlmodel.content.get("metadata") or {}).get(KEY)
    return parsed(content if isinstance(content, str) else json.dumps(content, default=str))


def parsed(text: str) -> DriftProfile:
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
            tuple(variable(str(name), one) for name, one in content["features"].items()),
            tuple(variable(str(name), one) for name, one in content["outputs"].items()),
        )
    except ProfileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ProfileError(f"the drift profile cannot be used ({type(error).__name__}: {error})") from None


def variable(name: str, content: Mapping[str, Any]) -> Variable:
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
