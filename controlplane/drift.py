"""How far the data of a revision has moved from its training data: what the drift windows of its pods say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from monitoring.verdict import CounterSample

Kind = Literal["input", "output"]
Readings = Mapping[str, Sequence[CounterSample] | None]

ROWS, MISSING = "model_drift_window_rows", "model_feature_missing_ratio"
INDEXES: Mapping[str, Kind] = {"model_feature_psi": "input", "model_prediction_psi": "output"}
LABELS: Mapping[Kind, str] = {"input": "feature", "output": "output"}
MOVED, DRIFTED = 0.1, 0.2
"""Population stability indexes from which a column has moved, and from which it has drifted."""


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    version: str
    kind: Kind
    name: str
    psi: float
    missing: float | None
    """The share of rows without it; of inputs alone."""

    @property
    def state(self) -> Literal["steady", "moved", "drifted"]:
        return "drifted" if self.psi > DRIFTED else "moved" if self.psi > MOVED else "steady"


@dataclass(frozen=True, slots=True)
class DriftReading:
    pods: int
    answered: int
    rows: int
    """Rows in the windows of all pods."""
    columns: Sequence[ColumnDrift]
    """The furthest away first; empty without a profile, and while the windows hold too few rows."""


def drift_of(readings: Readings) -> DriftReading:
    """Each index is the mean over the pods that have it, weighted by the rows in their windows."""
    answers = [each for each in readings.values() if each is not None]
    sums: dict[tuple[str, Kind, str, str], float] = defaultdict(float)
    weights: dict[tuple[str, Kind, str, str], float] = defaultdict(float)
    total = 0.0
    for samples in answers:
        rows = {version_of(each): each.value for each in samples if each.name == ROWS}
        total += sum(rows.values())
        for each in samples:
            kind: Kind | None = "input" if each.name == MISSING else INDEXES.get(each.name)
            if kind is not None:
                key = (version_of(each), kind, each.labels[LABELS[kind]], each.name)
                weight = rows.get(key[0], 0.0)
                sums[key] += each.value * weight
                weights[key] += weight
    means = {key: sums[key] / weight for key, weight in weights.items() if weight}
    columns = [
        ColumnDrift(version, kind, column, psi, means.get((version, kind, column, MISSING)))
        for (version, kind, column, metric), psi in means.items()
        if metric in INDEXES
    ]
    columns.sort(key=lambda each: (-each.psi, each.name))
    return DriftReading(len(readings), len(answers), int(total), columns)


def version_of(sample: CounterSample) -> str:
    return sample.labels["model_version"]
