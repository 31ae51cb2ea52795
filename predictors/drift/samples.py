"""The contents of a drift window as samples of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import TypeAlias

from predictors.drift.profiles import DriftProfile
from predictors.drift.psi import psi_by_variable
from predictors.drift.tally import DriftTally, NumberCounts, TextCounts

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_SHARES = 10
OTHER = "other"
Samples: TypeAlias = "dict[tuple[str, ...], float]"


def drift_samples(
    name: str, version: str, profile: DriftProfile | None, total: DriftTally, min_rows: int
) -> Mapping[str, Samples]:
    """Samples by attribute of `Metrics`. Fewer than `min_rows` rows give no sample but their number."""
    model = (name, version)
    samples: dict[str, Samples] = {"drift_window_rows": {model: float(total.rows)}}
    if profile is not None:
        samples |= distance_samples(model, profile, total, min_rows)
    quantiles: Samples = {}
    shares: Samples = {}
    for output, counted in total.outputs.items():
        if counted.rows < max(1, min_rows):
            continue
        if counted.classes is not None:
            shares |= {
                (*model, output, value): share for value, share in class_shares(counted, counted.classes).items()
            }
        elif isinstance(counted, NumberCounts):
            values = counted.quantiles(QUANTILES)
            quantiles |= {(*model, output, str(q)): value for q, value in zip(QUANTILES, values, strict=True)}
    return samples | {"prediction_quantile": quantiles, "prediction_share": shares}


def distance_samples(
    model: tuple[str, str], profile: DriftProfile, total: DriftTally, min_rows: int
) -> dict[str, Samples]:
    samples: dict[str, Samples] = {"feature_psi": {}, "feature_missing": {}, "prediction_psi": {}}
    if not profile.variables:
        return samples
    distances = psi_by_variable(profile.counts, total.bins, profile.starts)
    for position, (variable, start) in enumerate(zip(profile.variables, profile.starts, strict=True)):
        counts, labels = total.bins[start : start + len(variable.counts)], (*model, variable.name)
        rows = counts.sum()
        if rows < max(1, min_rows) or isnan(distances[position]):
            continue
        is_feature = position < len(profile.features)
        samples["feature_psi" if is_feature else "prediction_psi"][labels] = float(distances[position])
        if is_feature:
            samples["feature_missing"][labels] = float(counts[-1] / rows)
    return samples


def class_shares(counted: NumberCounts | TextCounts, classes: Mapping[str, int]) -> dict[str, float]:
    frequent = sorted(classes.items(), key=lambda entry: (-entry[1], entry[0]))
    shares = {value: count / counted.rows for value, count in frequent[:MAX_SHARES]}
    rest = sum(count for _, count in frequent[MAX_SHARES:]) / counted.rows
    return shares | ({OTHER: rest + shares.get(OTHER, 0.0)} if rest else {})
