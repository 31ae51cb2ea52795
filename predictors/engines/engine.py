"""Engines: faster ways to a model's very numbers. Each proves itself against the model before it serves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from predictors.engines.probes import ORDINARY, Probing, probe_groups
from predictors.protocol.casting import Array

log = logging.getLogger("predictors")

Answer: TypeAlias = "tuple[Array, Array | None]"
"""Predictions, and class probabilities where they are wanted and the model has them."""
Run: TypeAlias = Callable[[Array, bool], Answer]
"""Takes a matrix of numbers, and whether probabilities are wanted."""
RunJoint: TypeAlias = Callable[[Sequence[Array], bool], Answer]
"""The same for the rows of several requests; the answer is that for all rows, in order."""
TOLERANCE = 1e-6  # relative, of compiled engines
SINGLE_ROWS = 5  # rows of each group that are asked alone as well
MIN_PROBES = 20  # rows of each group at least
PROOF_SECONDS, EXPERIMENT_SECONDS = 3.0, 0.1  # about what a slow model is asked for at load
JOINT_ROWS, MAX_TIMED_ROWS = 16, 64  # rows of the experiments that show what an engine takes
MIN_SAVING, MIN_INEXACT_SAVING = 3e-6, 50e-6  # seconds that answering together must save for each request
MAX_BATCH_SECONDS = 0.05  # that a batch may take; it bounds how long the next one waits


class Declined(Exception):
    """These rows are not for the engine; the model itself answers them, or says what is wrong with them."""


class Unsuited(Exception):
    """This model has no such engine; the message says why."""


@dataclass(frozen=True)
class Engine:
    """A model as a function of one matrix."""

    name: str
    run: Run
    thresholds: Sequence[Array] = ()
    """For each column the numbers at which the model changes its mind, where they are known: they make good probes."""
    joint: RunJoint | None = None
    """The same for the rows of several requests, where `run` would give them other last bits than alone."""
    compiled: bool = False
    """Whether the model was converted; otherwise its own library computes, or the same operations in numpy."""


@dataclass(frozen=True)
class EngineCandidate:
    """An engine that a flavor proposes for a model."""

    name: str
    build: Callable[[], Engine]
    compiled: bool = False


@dataclass(frozen=True)
class ProvenEngine:
    """An engine that answered all probes as the model did, and what it takes."""

    engine: Engine
    first: float
    """Seconds for one row."""
    further: float
    """Seconds for each further row."""
    together: RunJoint | None = None
    """What answers the rows of several requests at once; None where each is better answered alone."""

    def seconds(self, rows: int) -> float:
        return self.first + self.further * rows

    @property
    def most_rows(self) -> int:
        """How many rows to answer at once, so that those who come next do not wait long."""
        return max(1, int(MAX_BATCH_SECONDS / max(self.further, 1e-9)))


@dataclass(frozen=True)
class EngineChoice:
    """The engine that serves, None for the model's own library by itself, and why not another."""

    proven: ProvenEngine | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    """By candidate: why it does not serve."""

    @property
    def name(self) -> str:
        return "native" if self.proven is None else self.proven.engine.name

    @property
    def reason(self) -> str:
        return "; ".join(f"{name}: {why}" for name, why in self.reasons.items())


def choose(candidates: Sequence[EngineCandidate], mode: str, probing: Probing, native: Run) -> EngineChoice:
    """The first candidate that `mode` allows and that proves itself against `native`."""
    reasons: dict[str, str] = {}
    for candidate in candidates:
        if (mode == "native" and candidate.compiled) or (mode == "compiled" and not candidate.compiled):
            reasons[candidate.name] = f"--engine={mode}"
            continue
        try:
            engine = in_layout_of_model(candidate.build(), columnwise=probing.columnwise)
            groups = limit_probes(probe_groups(probing, engine.thresholds), native)
            prove(engine, native, groups)
            return EngineChoice(measure(engine, groups[ORDINARY][:MAX_TIMED_ROWS], exact=mode == "native"), reasons)
        except Unsuited as unsuited:
            reasons[candidate.name] = str(unsuited)
        except ImportError as error:
            reasons[candidate.name] = f"{error.name} is not installed"
        except Exception as error:
            log.debug("the engine %s cannot be used", candidate.name, exc_info=True)
            reasons[candidate.name] = f"it cannot be built ({type(error).__name__})"
    return EngineChoice(None, reasons)


def in_layout_of_model(engine: Engine, *, columnwise: bool) -> Engine:
    """The engine on rows that lie in memory as the model gets them: the last bit of a sum may depend on it."""
    if not columnwise:
        return engine
    run, joint = engine.run, engine.joint
    return replace(
        engine,
        run=lambda rows, wanted: run(np.asfortranarray(rows), wanted),
        joint=joint and (lambda parts, wanted: joint([np.asfortranarray(rows) for rows in parts], wanted)),
    )


# -- proof ------------------------------------------------------------------------------------------------------


def limit_probes(groups: Mapping[str, Array], native: Run) -> dict[str, Array]:
    """Fewer probes for a model that is slow by itself: nobody should wait minutes for a server to be ready."""
    few = groups[ORDINARY][:MIN_PROBES]
    try_run(native, few)  # the first time takes longer
    started = time.perf_counter()
    try_run(native, few)
    each = (time.perf_counter() - started) / len(few)
    most = max(MIN_PROBES, int(PROOF_SECONDS / each / len(groups)))
    return {name: rows[:most] for name, rows in groups.items()}


def prove(engine: Engine, native: Run, groups: Mapping[str, Array]) -> None:
    """Raises `Unsuited` if the engine answers any probe differently, or one that the model refuses."""
    answered, tolerance = 0, TOLERANCE if engine.compiled else 0.0
    for group, rows in groups.items():
        expected, found = try_run(native, rows), try_run(engine.run, rows)
        if found is None:
            continue
        if expected is None:
            raise Unsuited(f"it answers {group} that the model refuses")
        answered += 1
        compare_answers(found, expected, group, tolerance)
        compare(engine.run(rows.copy(), False)[0], found[0], f"predictions without probabilities for {group}", 0.0)
        for row in range(min(len(rows), SINGLE_ROWS)):
            found, expected = try_run(engine.run, rows[row : row + 1]), try_run(native, rows[row : row + 1])
            if found is not None and expected is not None:
                compare_answers(found, expected, f"one of {group} alone", tolerance)
    if not answered:
        raise Unsuited("it answers none of the probes")


def compare_answers(mine: Answer, model: Answer, group: str, tolerance: float) -> None:
    for what, one, other in zip(("predictions", "probabilities"), mine, model, strict=True):
        compare(one, other, f"{what} for {group}", tolerance)


def try_run(run: Run, rows: Array) -> Answer | None:
    try:
        with np.errstate(all="ignore"):
            return run(rows.copy(), True)
    except Exception:
        return None


def compare(mine: Any, model: Any, what: str, tolerance: float) -> None:
    if mine is None and model is None:
        return
    if not isinstance(model, np.ndarray) or not isinstance(mine, np.ndarray):
        raise Unsuited(f"{what}: not arrays")
    if mine.shape != model.shape or mine.dtype != model.dtype:
        raise Unsuited(f"{what}: {mine.dtype}{list(mine.shape)} instead of {model.dtype}{list(model.shape)}")
    if model.dtype.kind != "f":
        same = mine == model
    elif tolerance:
        same = np.isclose(mine, model, rtol=tolerance, atol=0, equal_nan=True)
    else:
        same = (mine == model) | (np.isnan(mine) & np.isnan(model))
    if not same.all():
        differ = int(np.count_nonzero(~same.reshape(len(same), -1).all(axis=1)))
        raise Unsuited(f"{what} differ in {differ} of {len(same)} rows")


# -- measuring --------------------------------------------------------------------------------------------------


def measure(engine: Engine, rows: Array, *, exact: bool) -> ProvenEngine:
    """What the engine takes, and whether requests that wait are better answered together."""
    one, some = best_time(engine.run, rows[:1]), best_time(engine.run, rows[:JOINT_ROWS])
    rows = rows[: max(JOINT_ROWS, min(MAX_TIMED_ROWS, int(EXPERIMENT_SECONDS / one)))]
    many = best_time(engine.run, rows)
    saved = one - some / JOINT_ROWS
    proven = ProvenEngine(engine, one, max(many - one, 0.0) / (len(rows) - 1))
    if saved < MIN_SAVING:
        return proven
    joined = concatenated(engine.run)
    if matches_alone(joined, engine.run, rows, 0.0):
        return replace(proven, together=joined)
    if engine.joint is not None and matches_alone(engine.joint, engine.run, rows, 0.0):
        return replace(proven, together=engine.joint)
    # The last digit of a row depends on its neighbours: only where much is won, and where that is allowed.
    if not exact and saved > MIN_INEXACT_SAVING and matches_alone(joined, engine.run, rows, TOLERANCE):
        return replace(proven, together=joined)
    return proven


def concatenated(run: Run) -> RunJoint:
    """The rows of all requests as one matrix."""
    return lambda parts, probabilities: run(np.concatenate(parts), probabilities)


def matches_alone(together: RunJoint, run: Run, rows: Array, tolerance: float) -> bool:
    """Whether requests that are answered together get the numbers that they get alone."""
    for sizes in ([1] * len(rows), [1, 2], [1, 2, 3, 5, 1, 1], [len(rows) // 2 - 1, 2, len(rows) // 2 - 1]):
        ends = np.cumsum(sizes)
        parts = [rows[end - size : end].copy() for size, end in zip(sizes, ends, strict=True)]
        predictions, probabilities = zip(*(run(part.copy(), True) for part in parts), strict=True)
        alone = np.concatenate(predictions), None if probabilities[0] is None else np.concatenate(probabilities)
        try:
            compare_answers(together(parts, True), alone, "rows together", tolerance)
        except Unsuited:
            return False
    return True


def best_time(run: Run, rows: Array) -> float:
    """The best of several runs, so that a busy machine matters little."""
    return min(durations(run, rows))


def durations(run: Run, rows: Array) -> Iterator[float]:
    end = time.perf_counter() + EXPERIMENT_SECONDS / 50
    for _ in range(20):
        copied = rows.copy()
        started = time.perf_counter()
        run(copied, True)
        yield time.perf_counter() - started
        if time.perf_counter() > end:
            return
