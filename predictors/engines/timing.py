"""The time that an engine needs, and whether it saves time to answer several requests at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from predictors.engines.answers import compare_answers, join_predictions
from predictors.engines.engine import Engine, ProvenEngine, Rows, Run, RunJoint, Unsuited
from predictors.engines.proof import TOLERANCE
from predictors.protocol.mixed_rows import join_rows

MEASURE_SECONDS = 0.1  # about the time that a slow engine spends on the timed runs
JOINT_ROWS, MAX_TIMED_ROWS = 16, 64  # rows of the timed runs
MIN_SAVING, MIN_INEXACT_SAVING = 3e-6, 50e-6  # seconds that joint runs must save for each request


def measure(engine: Engine, rows: Rows, *, exact: bool) -> ProvenEngine:
    """Measures how long the engine takes, and whether joint runs save time."""
    first, together = best_time(engine.run, rows[:1]), best_time(engine.run, rows[:JOINT_ROWS])
    rows = rows[: max(JOINT_ROWS, min(MAX_TIMED_ROWS, int(MEASURE_SECONDS / first)))]
    many = best_time(engine.run, rows)
    saving = first - together / JOINT_ROWS  # per request
    proven = ProvenEngine(engine, first, max(many - first, 0.0) / (len(rows) - 1))
    if saving < MIN_SAVING or len(rows) < JOINT_ROWS:
        return proven
    joined = concatenated(engine.run)
    if matches_alone(joined, engine.run, rows, 0.0):
        return replace(proven, joint=joined)
    if engine.joint is not None and matches_alone(engine.joint, engine.run, rows, 0.0):
        return replace(proven, joint=engine.joint)
    # Last digits depend on the other rows: worth it only for a large saving, and only if that is allowed.
    if not exact and saving > MIN_INEXACT_SAVING and matches_alone(joined, engine.run, rows, TOLERANCE):
        return replace(proven, joint=joined)
    return proven


def concatenated(run: Run) -> RunJoint:
    """Joint runs of the rows of all requests as one."""
    return lambda parts, probabilities: run(join_rows(parts), probabilities)


def matches_alone(joint: RunJoint, run: Run, rows: Rows, tolerance: float) -> bool:
    """Whether requests get the same numbers from joint runs as alone."""
    count = len(rows)
    ones = [[1] * some for some in (*range(2, JOINT_ROWS), count)]
    for sizes in (*ones, [1, 2], [1, 2, 3, 5, 1, 1], [count // 2 - 1, 2, count // 2 - 1]):
        ends = np.cumsum(sizes)
        parts = [rows[end - size : end].copy() for size, end in zip(sizes, ends, strict=True)]
        predictions, probabilities = zip(*(run(part.copy(), True) for part in parts), strict=True)
        try:
            alone = join_predictions(predictions), None if probabilities[0] is None else np.concatenate(probabilities)
            compare_answers(joint(parts, True), alone, "rows together", tolerance)
        except (Unsuited, ValueError):  # the latter of predictions without a value for each row
            return False
    return True


def best_time(run: Run, rows: Rows) -> float:
    """The shortest of several runs, so that a busy machine matters little."""
    return min(run_times(run, rows))


def run_times(run: Run, rows: Rows) -> Iterator[float]:
    end = time.perf_counter() + MEASURE_SECONDS / 50
    for number in range(20):
        copied = rows.copy()
        started = time.perf_counter()
        run(copied, True)
        yield time.perf_counter() - started
        if number >= 2 and time.perf_counter() > end:
            return
