"""What a tap has taken → columns, with the names that a profile has for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from predictors.drift.profiles import flat
from predictors.drift.tap import MAX_AT_ONCE, Quick, Slow
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import Array
from predictors.protocol.results import PREDICTIONS, PROBABILITIES, named_tensors
from predictors.signature.plan import columns_of_records, is_records

if TYPE_CHECKING:
    from predictors.model.loaded import Loaded

log = logging.getLogger("predictors")


@dataclass(frozen=True)
class Columns:
    rows: int
    features: Mapping[str, Any]
    outputs: Mapping[str, Any]


class ColumnReader:
    """Knows the names of one model's inputs and outputs."""

    def __init__(self, loaded: Loaded) -> None:
        plan = loaded.plan
        self.output_names = loaded.output_names
        self.names = plan.names if not plan.inputs else tuple(one.name for one in plan.inputs if one.name)
        self.matrix_names = loaded.matrix.names if loaded.matrix is not None else ()
        self.failed = False
        """Whether that has been said."""

    def read(self, quick: Sequence[Quick], slow: Sequence[Slow]) -> list[Columns]:
        """Few large tables: of all that came the short way, and of all that came the long way with the same columns."""
        alike: dict[Any, list[Columns]] = {}
        for batch, prediction in slow:
            try:
                one = self.of_batch(batch, prediction)
            except Exception:  # it holds what no reply can; the others do not
                if not self.failed:
                    log.exception("drift: a request cannot be counted, and is left out")
                self.failed = True
                continue
            alike.setdefault((*one.features, None, *one.outputs), []).append(one)
        return [*self.of_matrices(quick), *(joined(group) for group in alike.values())]

    def of_matrices(self, taken: Sequence[Quick]) -> list[Columns]:
        """With and without probabilities apart: callers may do without."""
        found = []
        for wanted in (True, False):
            group = [one for one in taken if (one[1][1] is not None) is wanted]
            if group:
                rows = np.concatenate([rows for rows, _ in group])
                answers = np.concatenate([predictions for _, (predictions, _) in group])
                given = [probabilities for _, (_, probabilities) in group if probabilities is not None]
                probabilities = np.concatenate(given) if given else None
                outputs = self.outputs(Prediction(answers, "predict", "", "", self.output_names, probabilities))
                found.append(Columns(len(rows), self.by_place(rows), outputs))
        return found

    def by_place(self, rows: Array) -> dict[str, Any]:
        names = self.matrix_names or self.names
        if len(names) != rows.shape[1]:
            names = tuple(map(str, range(rows.shape[1])))
        return {name: rows[:, place] for place, name in enumerate(names)}

    def of_batch(self, batch: Batch, prediction: Prediction) -> Columns:
        features = self.features(batch)
        outputs = self.outputs(prediction)
        rows = max((len(values) for values in (features or outputs).values()), default=0)
        step = -(-rows // MAX_AT_ONCE)
        if step > 1:
            features, outputs = ({name: values[::step] for name, values in one.items()} for one in (features, outputs))
            rows = -(-rows // step)
        # Whatever does not have a value for each row cannot be counted beside the others.
        return Columns(rows, of_length(features, rows), of_length(outputs, rows))

    def features(self, batch: Batch) -> dict[str, Any]:
        columns, rows = batch.columns, batch.rows
        if columns is None and is_records(rows):
            columns = columns_of_records(rows)
        if columns is not None:
            if batch.tensors and len(columns) == 1:
                ((name, values),) = columns.items()
                if name not in self.names and np.ndim(values) == 2:
                    return self.by_place(np.asarray(values))
            return {name: one for name, values in columns.items() for one in [column(values)] if one is not None}
        if isinstance(rows, list) and rows and not isinstance(rows[0], list):
            rows = [[row] for row in rows]
        if isinstance(rows, list):
            if len({len(row) if isinstance(row, list) else -1 for row in rows}) != 1:
                return {}
            names = self.names if rows and len(self.names) == len(rows[0]) else tuple(map(str, range(len(rows[0]))))
            return dict(zip(names, zip(*rows, strict=True), strict=True))
        return self.by_place(rows) if isinstance(rows, np.ndarray) and rows.ndim == 2 else {}

    def outputs(self, prediction: Prediction) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, tensor in named_tensors(prediction).items():
            found |= flat(name, tensor)
        return found


def column(values: Any) -> Any:
    """One value per row, or None."""
    if not isinstance(values, np.ndarray) or values.ndim == 1:
        return values
    return values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else None


def of_length(columns: Mapping[str, Any], rows: int) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if len(values) == rows}


def joined(group: Sequence[Columns]) -> Columns:
    if len(group) == 1:
        return group[0]
    return Columns(
        sum(one.rows for one in group),
        {name: together([one.features[name] for one in group]) for name in group[0].features},
        {name: together([one.outputs[name] for one in group]) for name in group[0].outputs},
    )


def together(parts: Sequence[Any]) -> Any:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return list(chain.from_iterable(part.tolist() if isinstance(part, np.ndarray) else part for part in parts))


def classes_of(loaded: Loaded, outputs: Mapping[str, Any]) -> frozenset[str]:
    """Outputs that are classes, also where a library writes them as decimals: those that have probabilities."""
    if not any(name.startswith(PROBABILITIES) for name in outputs):
        return frozenset()
    names = loaded.output_names
    return frozenset(names[:1] if len(names) == 1 else (PREDICTIONS,))
