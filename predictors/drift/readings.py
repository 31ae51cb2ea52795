"""What a window says, as samples of the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import TypeAlias

from predictors.drift.profiles import DriftProfile
from predictors.drift.psi import psis
from predictors.drift.tally import DriftTally, Spread, Texts

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_SHARES = 10
OTHER = "other"
Samples: TypeAlias = "dict[tuple[str, ...], float]"


def readings(
    name: str, version: str, profile: DriftProfile | None, total: DriftTally, least_rows: int
) -> Mapping[str, Samples]:
    """By attribute of `Metrics`. Of fewer rows than `least_rows` nothing is said but how many they are."""
    model = (name, version)
    found: dict[str, Samples] = {"drift_window_rows": {model: float(total.rows)}}
    if profile is not None:
        found |= distances(model, profile, total, least_rows)
    quantiles: Samples = {}
    shares: Samples = {}
    for output, seen in total.outputs.items():
        if seen.rows < max(1, least_rows):
            continue
        if seen.classes is not None:
            shares |= {(*model, output, value): share for value, share in shares_of(seen, seen.classes).items()}
        elif isinstance(seen, Spread):
            values = seen.quantiles(QUANTILES)
            quantiles |= {(*model, output, str(q)): value for q, value in zip(QUANTILES, values, strict=True)}
    return found | {"prediction_quantile": quantiles, "prediction_share": shares}


def distances(model: tuple[str, str], profile: DriftProfile, total: DriftTally, least_rows: int) -> dict[str, Samples]:
    found: dict[str, Samples] = {"feature_psi": {}, "feature_missing": {}, "prediction_psi": {}}
    if not profile.variables:
        return found
    apart = psis(profile.counts, total.bins, profile.starts)
    for place, (one, start) in enumerate(zip(profile.variables, profile.starts, strict=True)):
        counts, labels = total.bins[start : start + len(one.counts)], (*model, one.name)
        rows = counts.sum()
        if rows < max(1, least_rows) or isnan(apart[place]):
            continue
        is_feature = place < len(profile.features)
        found["feature_psi" if is_feature else "prediction_psi"][labels] = float(apart[place])
        if is_feature:
            found["feature_missing"][labels] = float(counts[-1] / rows)
    return found


def shares_of(seen: Spread | Texts, classes: Mapping[str, int]) -> dict[str, float]:
    most = sorted(classes.items(), key=lambda one: (-one[1], one[0]))
    shares = {value: count / seen.rows for value, count in most[:MAX_SHARES]}
    rest = sum(count for _, count in most[MAX_SHARES:]) / seen.rows
    return shares | ({OTHER: rest + shares.get(OTHER, 0.0)} if rest else {})
