"""A prediction log beside a profile: how far each column is from it, in all, by version and over time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from predictors.drift.binning import Array
from predictors.drift.files import UnusableData, answered, logged, together
from predictors.drift.profiles import DriftProfile
from predictors.drift.psi import psi
from predictors.drift.variables import Variable, floats, is_missing, summary

if TYPE_CHECKING:
    import pandas as pd

PERIODS = 24
HASH = re.compile("[0-9a-f]{64}")  # of a column that the prediction log was told to hash
VERSION_COLUMN, TIME_COLUMN = "version", "time"


@dataclass(frozen=True, eq=False)
class Finding:
    """One column of the profile in the log."""

    variable: Variable
    is_output: bool
    counts: Array
    mean: float | None
    versions: Mapping[str, float] = field(default_factory=dict)
    """PSI by version of the model."""
    periods: Sequence[float | None] = ()
    """PSI by period; None where there were too few rows."""

    @property
    def psi(self) -> float:
        return psi(self.variable.counts, self.counts)

    @property
    def missing(self) -> tuple[float, float]:
        """In training and in the log."""
        before, now = self.variable.counts, self.counts
        return float(before[-1] / max(1, before.sum())), float(now[-1] / max(1, now.sum()))

    @property
    def shift(self) -> float | None:
        """Of the mean, in standard deviations of the training data."""
        deviation, before = self.variable.summary.get("std"), self.variable.summary.get("mean")
        if self.mean is None or before is None or not deviation:
            return None
        return (self.mean - before) / deviation


@dataclass(frozen=True, eq=False)
class Comparison:
    rows: int
    findings: Sequence[Finding]
    """The worst first."""
    absent: Sequence[str]
    """Columns of the profile that the log does not have, has only hashes of, or has in too few rows."""
    times: Sequence[str]
    """When each period began."""
    versions: Mapping[str, int]
    """Rows by version."""


def compared(profile: DriftProfile, parts: Sequence[pd.DataFrame], least_rows: int) -> Comparison:
    frame = together(parts)
    features, outputs = logged(frame)
    if not features and not outputs:
        raise UnusableData("the log has no column named input.… or output.…; is it a prediction log?")
    if len(frame) < least_rows:
        raise UnusableData(
            f"the log has {len(frame)} rows, too few to tell drift from chance (--min-rows={least_rows})"
        )
    versions = groups(frame[VERSION_COLUMN].astype(str).to_numpy()) if VERSION_COLUMN in frame else {}
    times, periods = split(frame, least_rows) if TIME_COLUMN in frame else ([], [])
    found, absent = [], []
    for place, one in enumerate(profile.variables):
        is_output = place >= len(profile.features)
        values = (outputs if is_output else features).get(one.name)
        there = answered(parts, one.name) if is_output else np.ones(len(frame), bool)
        if values is None or there.sum() < least_rows or is_hashed(values, one):
            absent.append(one.name)
        else:
            found.append(finding(one, is_output, values, there, versions, periods, least_rows))
    if not found:
        raise UnusableData(f"the log has none of the profile's columns: {', '.join(absent[:10])}")
    found.sort(key=lambda one: (-one.psi, one.variable.name))
    return Comparison(len(frame), found, absent, times, {name: int(rows.sum()) for name, rows in versions.items()})


def finding(
    one: Variable,
    is_output: bool,
    values: Any,
    there: Array,
    versions: Mapping[str, Array],
    periods: Sequence[Array],
    least: int,
) -> Finding:
    """`there` are the rows that could have the column."""
    cells = np.asarray(floats(values, one.kind) if one.numeric else list(values), dtype=None if one.numeric else object)

    def of(rows: Array) -> float | None:
        rows = rows & there
        return psi(one.counts, one.count(cells[rows])) if rows.sum() >= least else None

    return Finding(
        one,
        is_output,
        one.count(cells[there]),
        summary(cells).get("mean") if one.numeric else None,
        {name: apart for name, rows in versions.items() if (apart := of(rows)) is not None},
        [of(rows) for rows in periods],
    )


def is_hashed(values: Any, one: Variable) -> bool:
    """Whether the log has hashes where the profile has the values themselves, so that nothing can be said."""
    present = [value for value in values if not is_missing(value)]
    all_of_them = present and all(isinstance(value, str) and HASH.fullmatch(value) for value in present)
    return bool(all_of_them) and not any(HASH.fullmatch(value) for value in one.values)


def groups(values: Array) -> dict[str, Array]:
    return {name: values == name for name in sorted(map(str, np.unique(values)), key=as_counted)}


def as_counted(version: str) -> tuple[bool, int, str]:
    """2 comes before 10, and what is no number after both."""
    return not version.isdecimal(), int(version) if version.isdecimal() else 0, version


def split(frame: pd.DataFrame, least_rows: int) -> tuple[list[str], list[Array]]:
    """Periods of the same length; fewer of them where there would be few rows in each."""
    import pandas as pd

    moments = pd.to_datetime(frame[TIME_COLUMN], utc=True, errors="coerce", format="mixed")
    first, last = moments.min(), moments.max()
    count = min(PERIODS, len(frame) // least_rows)
    if pd.isna(first) or first == last or count < 2:
        return [], []
    edges = pd.date_range(first, last, periods=count + 1)
    places = np.clip(np.searchsorted(edges, moments, side="right") - 1, 0, count - 1)
    known = moments.notna().to_numpy()
    return [str(edge.strftime("%m-%d %H:%M")) for edge in edges[:-1]], [
        (places == place) & known for place in range(count)
    ]
