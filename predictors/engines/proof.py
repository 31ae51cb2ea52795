"""The proof of an engine: it answers probes as the model does, and declines those that the model refuses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Engine, Rows, Run, Unsuited
from predictors.engines.probes import ORDINARY

TOLERANCE = 1e-6  # relative, for compiled engines
SINGLE_ROWS = 5  # rows of each group of probes that are also tried alone
FEW_ROWS = (2, 3, 5, 6, 7, 9, 11, 13)
"""Numbers of rows that are tried, too: BLAS treats the last rows of a matrix differently, by its layout in memory."""
MIN_PROBES = 20  # rows of each group, however slow the model is
PROOF_SECONDS = 3.0  # about the time that a slow model spends on the proof


def limit_probes(groups: Mapping[str, Rows], native: Run) -> dict[str, Rows]:
    """Fewer probes for a slow model, so that the server does not need minutes to be ready."""
    few = groups[ORDINARY][:MIN_PROBES]
    try_run(native, few)  # the first run takes longer
    started = time.perf_counter()
    try_run(native, few)
    row_seconds = (time.perf_counter() - started) / len(few)
    count = max(MIN_PROBES, int(PROOF_SECONDS / row_seconds / len(groups)))
    return {name: rows[:count] for name, rows in groups.items()}


def prove(engine: Engine, native: Run, groups: Mapping[str, Rows]) -> None:
    """Raises `Unsuited` if the engine answers a probe differently, or answers one that the model refuses."""
    answered, tolerance = 0, TOLERANCE if engine.compiled else 0.0
    for group, rows in groups.items():
        expected, actual = try_run(native, rows), try_run(engine.run, rows)
        if actual is None:
            continue
        if expected is None:
            raise Unsuited(f"it answers {group} that the model refuses")
        answered += 1
        compare_answers(actual, expected, group, tolerance)
        compare_arrays(
            engine.run(rows.copy(), False)[0], actual[0], f"predictions without probabilities for {group}", 0.0
        )
        parts = [rows[row : row + 1] for row in range(min(len(rows), SINGLE_ROWS))]
        if group == ORDINARY:
            parts += [rows[size : 2 * size] for size in FEW_ROWS if 2 * size <= len(rows)]
        for part in parts:
            actual, expected = try_run(engine.run, part), try_run(native, part)
            if actual is not None and expected is None:
                raise Unsuited(f"it answers {len(part)} of {group} that the model refuses")
            if actual is not None and expected is not None:
                compare_answers(actual, expected, f"{len(part)} of {group} alone", tolerance)
    if not answered:
        raise Unsuited("it answers none of the probes")


def compare_answers(actual: Answer, expected: Answer, group: str, tolerance: float) -> None:
    for part, mine, model in zip(("predictions", "probabilities"), actual, expected, strict=True):
        compare_arrays(mine, model, f"{part} for {group}", tolerance)


def try_run(run: Run, rows: Rows) -> Answer | None:
    """The answer for the rows; None if they are declined or refused."""
    try:
        with np.errstate(all="ignore"):
            return run(rows.copy(), True)
    except Exception:
        return None


def compare_arrays(actual: Any, expected: Any, part: str, tolerance: float) -> None:
    if actual is None and expected is None:
        return
    if not isinstance(expected, np.ndarray) or not isinstance(actual, np.ndarray):
        raise Unsuited(f"{part}: not arrays")
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise Unsuited(f"{part}: {actual.dtype}{list(actual.shape)} instead of {expected.dtype}{list(expected.shape)}")
    if expected.dtype.kind != "f":
        same = actual == expected
    elif tolerance:
        same = np.isclose(actual, expected, rtol=tolerance, atol=0, equal_nan=True)
    else:
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    if not same.all():
        differ = int(np.count_nonzero(~same.reshape(len(same), -1).all(axis=1)))
        raise Unsuited(f"{part} differ in {differ} of {len(same)} rows")
