"""The proof of an engine: it answers probes as the model does, and declines those that the model refuses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from predictors.engines.answers import compare, compare_answers
from predictors.engines.engine import Answer, Engine, Rows, Run, Unsuited
from predictors.engines.probes import ORDINARY

TOLERANCE = 1e-6  # relative, for compiled engines
MAX_ALONE = 5  # rows of each group that are also tried alone
ALONE_SECONDS = 1.0  # about the time that a slow model spends on them
FEW_ROWS = (2, 3, 5, 6, 7, 9, 11, 13)
"""Numbers of rows that are tried, too: BLAS treats the last rows of a matrix differently, by its layout in memory."""
MIN_PROBES, FEW_PROBES = 20, 2  # rows of each group, however slow the model is
FEW_TIMED = 8  # rows of the timed run of a slow model: enough to see whether it computes them together
SLOW_SECONDS = 0.02  # a model that needs so long for a row is asked about few
PROOF_SECONDS = 3.0  # about the time that a slow model spends on the proof
MIN_TOGETHER = 64  # rows of each group for a model that computes them together: more than some have in a block
ROW_BY_ROW_SECONDS = 1.0  # the same for one that computes row after row, as its engine then does too


@dataclass(frozen=True)
class ProofRows:
    """Groups of rows by their description, and how many rows of each group are also tried alone."""

    groups: Mapping[str, Rows]
    alone: int = MAX_ALONE


def limit_probes(groups: Mapping[str, Rows], native: Run) -> ProofRows:
    """Fewer probes for a slow model, so that the server does not need minutes to be ready.

    Raises `Unsuited` for one that even few would keep busy for longer than an engine is worth.
    """
    ordinary = groups[ORDINARY]
    one_seconds = best_seconds(native, ordinary[:1])
    least, timed = (FEW_PROBES, FEW_TIMED) if one_seconds > SLOW_SECONDS else (MIN_PROBES, MIN_PROBES)
    row_seconds = best_seconds(native, ordinary[:timed]) / timed
    if row_seconds > one_seconds / 2:  # row after row, as each would be computed alone
        if one_seconds > SLOW_SECONDS:
            raise Unsuited("the model computes each row for so long that an engine would save little")
        return ProofRows(shortened(groups, max(least, int(ROW_BY_ROW_SECONDS / row_seconds / len(groups)))), 1)
    count = max(least, MIN_TOGETHER, int(PROOF_SECONDS / row_seconds / len(groups)))
    return ProofRows(shortened(groups, count), max(1, min(MAX_ALONE, int(ALONE_SECONDS / one_seconds / len(groups)))))


def shortened(groups: Mapping[str, Rows], count: int) -> Mapping[str, Rows]:
    return {name: rows[:count] for name, rows in groups.items()}


def best_seconds(run: Run, rows: Rows) -> float:
    """The shorter of two runs: the first run of so many rows may prepare something."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        try_run(run, rows)
        times.append(time.perf_counter() - started)
    return min(times)


def prove(engine: Engine, native: Run, probes: ProofRows) -> None:
    """Raises `Unsuited` if the engine answers a probe differently, or answers one that the model refuses."""
    answered, tolerance = 0, TOLERANCE if engine.compiled else 0.0
    for group, rows in probes.groups.items():
        expected, actual = try_run(native, rows), try_run(engine.run, rows)
        if actual is None:
            continue
        if expected is None:
            raise Unsuited(f"it answers {group} that the model refuses")
        answered += 1
        compare_answers(actual, expected, group, tolerance)
        if actual[1] is not None:
            compare(engine.run(rows.copy(), False)[0], actual[0], f"predictions without probabilities for {group}", 0.0)
        parts = [rows[row : row + 1] for row in range(min(len(rows), probes.alone))]
        if group == ORDINARY and probes.alone > 1:
            parts += [rows[size : 2 * size] for size in FEW_ROWS if 2 * size <= len(rows)]
        for part in parts:
            actual, expected = try_run(engine.run, part), try_run(native, part)
            if actual is not None and expected is None:
                raise Unsuited(f"it answers {len(part)} of {group} that the model refuses")
            if actual is not None and expected is not None:
                compare_answers(actual, expected, f"{len(part)} of {group} alone", tolerance)
    if not answered:
        raise Unsuited("it answers none of the probes")


def try_run(run: Run, rows: Rows) -> Answer | None:
    """The answer for the rows; None if they are declined or refused."""
    try:
        with np.errstate(all="ignore"):
            return run(rows.copy(), True)
    except Exception:
        return None
