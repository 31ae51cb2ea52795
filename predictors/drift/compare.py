"""Compares a prediction log with a profile: the distance of each column, in total, by version and over time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from predictors.drift.binning import Array
from predictors.drift.files import UnusableData, concatenate, rows_with_output, split_log
from predictors.drift.profiles import DriftProfile
from predictors.drift.psi import psi
from predictors.drift.variables import Variable, as_floats, is_missing, summary

if TYPE_CHECKING:
    import pandas as pd

MAX_PERIODS = 24
HASH = re.compile("[0-9a-f]{64}")  # a cell of a column that the prediction log hashes
VERSION_COLUMN, TIME_COLUMN = "version", "time"


@dataclass(frozen=True, eq=False)
class Finding:
    """The drift of a column."""

    variable: Variable
    is_output: bool
    counts: Array
    mean: float | None
    versions: Mapping[str, float] = field(default_factory=dict)
    """PSI by version of the model."""
    periods: Sequence[float | None] = ()
    """PSI by period; None for periods with too few rows."""

    @property
    def psi(self) -> float:
        return psi(self.variable.counts, self.counts)

    @property
    def missing(self) -> tuple[float, float]:
        """The shares of missing values in training and in the log."""
        before, now = self.variable.counts, self.counts
        return float(before[-1] / max(1, before.sum())), float(now[-1] / max(1, now.sum()))

    @property
    def shift(self) -> float | None:
        """The shift of the mean, in standard deviations of the training data."""
        deviation, before = self.variable.summary.get("std"), self.variable.summary.get("mean")
        if self.mean is None or before is None or not deviation:
            return None
        return (self.mean - before) / deviation


@dataclass(frozen=True, eq=False)
class Comparison:
    rows: int
    findings: Sequence[Finding]
    """The largest PSI first."""
    absent: Sequence[str]
    """Columns of the profile that the log lacks, has only as hashes, or has in too few rows."""
    times: Sequence[str]
    """The start of each period."""
    versions: Mapping[str, int]
    """Rows by version."""


def compare(profile: DriftProfile, parts: Sequence[pd.DataFrame], min_rows: int) -> Comparison:
    frame = concatenate(parts)
    features, outputs = split_log(frame)
    if not features and not outputs:
        raise UnusableData("the log has no column named input.… or output.…; is it a prediction log?")
    if len(frame) < min_rows:
        raise UnusableData(f"the log has {len(frame)} rows, too few to tell drift from chance (--min-rows={min_rows})")
    versions = rows_by_version(frame[VERSION_COLUMN].astype(str).to_numpy()) if VERSION_COLUMN in frame else {}
    times, periods = split_periods(frame, min_rows) if TIME_COLUMN in frame else ([], [])
    findings, absent = [], []
    for position, variable in enumerate(profile.variables):
        is_output = position >= len(profile.features)
        values = (outputs if is_output else features).get(variable.name)
        present = rows_with_output(parts, variable.name) if is_output else np.ones(len(frame), bool)
        if values is None or present.sum() < min_rows or is_hashed(values, variable):
            absent.append(variable.name)
        else:
            findings.append(compare_column(variable, is_output, values, present, versions, periods, min_rows))
    if not findings:
        raise UnusableData(f"the log has none of the profile's columns: {', '.join(absent[:10])}")
    findings.sort(key=lambda variable: (-variable.psi, variable.variable.name))
    return Comparison(len(frame), findings, absent, times, {name: int(rows.sum()) for name, rows in versions.items()})


def compare_column(
    variable: Variable,
    is_output: bool,
    values: Any,
    present: Array,
    versions: Mapping[str, Array],
    periods: Sequence[Array],
    min_rows: int,
) -> Finding:
    """`present` are the rows that could have the column."""
    cells = np.asarray(
        as_floats(values, variable.kind) if variable.numeric else list(values),
        dtype=None if variable.numeric else object,
    )

    def psi_of(rows: Array) -> float | None:
        rows = rows & present
        return psi(variable.counts, variable.count(cells[rows])) if rows.sum() >= min_rows else None

    return Finding(
        variable,
        is_output,
        variable.count(cells[present]),
        summary(cells).get("mean") if variable.numeric else None,
        {name: value for name, rows in versions.items() if (value := psi_of(rows)) is not None},
        [psi_of(rows) for rows in periods],
    )


def is_hashed(values: Any, variable: Variable) -> bool:
    """Whether the log has hashes and the profile has values, which cannot be compared."""
    present = [value for value in values if not is_missing(value)]
    all_hashes = present and all(isinstance(value, str) and HASH.fullmatch(value) for value in present)
    return bool(all_hashes) and not any(HASH.fullmatch(value) for value in variable.values)


def rows_by_version(values: Array) -> dict[str, Array]:
    return {name: values == name for name in sorted(map(str, np.unique(values)), key=version_key)}


def version_key(version: str) -> tuple[bool, int, str]:
    """Sorts 2 before 10, and versions that are not numbers after both."""
    return not version.isdecimal(), int(version) if version.isdecimal() else 0, version


def split_periods(frame: pd.DataFrame, min_rows: int) -> tuple[list[str], list[Array]]:
    """Periods of equal length, as many as have enough rows on average."""
    import pandas as pd

    moments = pd.to_datetime(frame[TIME_COLUMN], utc=True, errors="coerce", format="mixed")
    first, last = moments.min(), moments.max()
    count = min(MAX_PERIODS, len(frame) // min_rows)
    if pd.isna(first) or first == last or count < 2:
        return [], []
    edges = pd.date_range(first, last, periods=count + 1)
    positions = np.clip(np.searchsorted(edges, moments, side="right") - 1, 0, count - 1)
    known = moments.notna().to_numpy()
    return [str(edge.strftime("%m-%d %H:%M")) for edge in edges[:-1]], [
        (positions == position) & known for position in range(count)
    ]
