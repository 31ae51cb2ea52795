"""The samples of a tap as columns, under the names that a profile has for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from predictors.drift.profiles import split_columns
from predictors.drift.tap import MAX_REQUEST_ROWS, FastSample, SlowSample
from predictors.engines.answers import join_predictions
from predictors.protocol.batch import Batch, Prediction
from predictors.protocol.casting import Array
from predictors.protocol.mixed_rows import MixedRows, join_rows
from predictors.protocol.results import PREDICTIONS, PROBABILITIES, named_tensors
from predictors.signature.columns import ColumnPlan
from predictors.signature.plan import columns_of_records, is_records

if TYPE_CHECKING:
    from predictors.model.loaded import Loaded

log = logging.getLogger("predictors")


@dataclass(frozen=True)
class SampledColumns:
    rows: int
    features: Mapping[str, Any]
    outputs: Mapping[str, Any]


class ColumnReader:
    """Turns samples into columns with the names of one model's inputs and outputs."""

    def __init__(self, loaded: Loaded) -> None:
        plan = loaded.plan
        self.output_names = loaded.output_names
        self.names = plan.names if not plan.inputs else tuple(field.name for field in plan.inputs if field.name)
        self.matrix_names = loaded.matrix.names if loaded.matrix is not None else ()
        self.types = loaded.rows_plan.types if isinstance(loaded.rows_plan, ColumnPlan) else ()
        self.failed = False
        """Whether a failure has been logged."""

    def read(self, fast: Sequence[FastSample], slow: Sequence[SlowSample]) -> list[SampledColumns]:
        """A few large tables: of the fast path's samples, and of the slow path's samples with the same columns."""
        groups: dict[Any, list[SampledColumns]] = {}
        for batch, prediction in slow:
            try:
                columns = self.read_batch(batch, prediction)
            except Exception:  # one bad sample must not spoil the others
                if not self.failed:
                    log.exception("drift: a request cannot be counted, and is left out")
                self.failed = True
                continue
            groups.setdefault((*columns.features, None, *columns.outputs), []).append(columns)
        return [*self.read_fast(fast), *(join_columns(group) for group in groups.values())]

    def read_fast(self, samples: Sequence[FastSample]) -> list[SampledColumns]:
        """Two tables: for samples with probabilities, and for those without."""
        tables = []
        for wanted in (True, False):
            group = [sample for sample in samples if (sample[1][1] is not None) is wanted]
            if group:
                rows = join_rows([rows for rows, _ in group])
                answers = join_predictions([predictions for _, (predictions, _) in group])
                parts = [probabilities for _, (_, probabilities) in group if probabilities is not None]
                probabilities = np.concatenate(parts) if parts else None
                outputs = self.outputs(Prediction(answers, "predict", "", "", self.output_names, probabilities))
                tables.append(SampledColumns(len(rows), self.by_position(rows), outputs))
        return tables

    def by_position(self, rows: Array | MixedRows) -> dict[str, Any]:
        if isinstance(rows, MixedRows):
            return {column.name: rows.cells(column) for column in self.types}
        if rows.ndim != 2:
            return {}
        names = self.matrix_names or self.names
        if len(names) != rows.shape[1]:
            names = tuple(map(str, range(rows.shape[1])))
        return {name: rows[:, position] for position, name in enumerate(names)}

    def read_batch(self, batch: Batch, prediction: Prediction) -> SampledColumns:
        features = self.features(batch)
        outputs = self.outputs(prediction)
        rows = max((len(values) for values in (features or outputs).values()), default=0)
        step = -(-rows // MAX_REQUEST_ROWS)
        if step > 1:
            features, outputs = (
                {name: values[::step] for name, values in columns.items()} for columns in (features, outputs)
            )
            rows = -(-rows // step)
        # A column without a value for each row cannot be counted with the others.
        return SampledColumns(rows, with_length(features, rows), with_length(outputs, rows))

    def features(self, batch: Batch) -> dict[str, Any]:
        columns, rows = batch.columns, batch.rows
        if columns is None and is_records(rows):
            columns = columns_of_records(rows)
        if columns is not None:
            if batch.tensors and len(columns) == 1:
                ((name, values),) = columns.items()
                if name not in self.names and np.ndim(values) == 2:
                    return self.by_position(np.asarray(values))
            return {name: column for name, values in columns.items() if (column := as_column(values)) is not None}
        if isinstance(rows, list) and rows and not isinstance(rows[0], list):
            rows = [[row] for row in rows]
        if isinstance(rows, list):
            if len({len(row) if isinstance(row, list) else -1 for row in rows}) != 1:
                return {}
            names = self.names if rows and len(self.names) == len(rows[0]) else tuple(map(str, range(len(rows[0]))))
            return dict(zip(names, zip(*rows, strict=True), strict=True))
        return self.by_position(rows) if isinstance(rows, np.ndarray) and rows.ndim == 2 else {}

    def outputs(self, prediction: Prediction) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for name, tensor in named_tensors(prediction).items():
            columns |= split_columns(name, tensor)
        return columns


def as_column(values: Any) -> Any:
    """The values as a column; None if they are more than one per row."""
    if not isinstance(values, np.ndarray) or values.ndim == 1:
        return values
    return values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else None


def with_length(columns: Mapping[str, Any], rows: int) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if len(values) == rows}


def join_columns(group: Sequence[SampledColumns]) -> SampledColumns:
    if len(group) == 1:
        return group[0]
    return SampledColumns(
        sum(columns.rows for columns in group),
        {name: concatenate([columns.features[name] for columns in group]) for name in group[0].features},
        {name: concatenate([columns.outputs[name] for columns in group]) for name in group[0].outputs},
    )


def concatenate(parts: Sequence[Any]) -> Any:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return list(chain.from_iterable(part.tolist() if isinstance(part, np.ndarray) else part for part in parts))


def classes_of(loaded: Loaded, outputs: Mapping[str, Any]) -> frozenset[str]:
    """The output that is a class, even if the library gives it as a float: it comes with probabilities."""
    if not any(name.startswith(PROBABILITIES) for name in outputs):
        return frozenset()
    names = loaded.output_names
    return frozenset(names[:1] if len(names) == 1 else (PREDICTIONS,))
