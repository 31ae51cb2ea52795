"""Engines: faster ways to compute a model's predictions, each proven against the model before it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from predictors.protocol.casting import Array

Predictions: TypeAlias = Any
"""An array, a table, or either by name, with a row for each row that was asked about."""
Answer: TypeAlias = "tuple[Predictions, Array | None]"
"""Predictions, and class probabilities if they are wanted and the model has them."""
Rows: TypeAlias = Any
"""A matrix of numbers, or `MixedRows` for an engine of columns of several types."""
Run: TypeAlias = Callable[[Rows, bool], Answer]
"""Called with rows, and whether probabilities are wanted."""
RunJoint: TypeAlias = Callable[[Sequence[Rows], bool], Answer]
"""Called with the rows of several requests; the answer is for all of them, in order."""
MAX_BATCH_SECONDS = 0.05  # bounds how long the next batch waits for a thread


class Declined(Exception):
    """The engine does not take these rows: the model itself answers or refuses them."""


class Unsuited(Exception):
    """The engine cannot serve this model; the message says why."""


@dataclass(frozen=True)
class Engine:
    """A model as a function from rows to predictions."""

    name: str
    run: Run
    thresholds: Sequence[Array] = ()
    """For each column, the values at which predictions change, if they are known: they make good probes."""
    categories: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """By column, the values that the model distinguishes, for the same reason."""
    joint: RunJoint | None = None
    """`run` for several requests, if the last bits of a row would depend on the other rows of its matrix."""
    compiled: bool = False
    """Whether the model was converted. If not, its own library or the same operations in numpy compute."""


@dataclass(frozen=True)
class EngineCandidate:
    """An engine that a flavor proposes for a model."""

    name: str
    build: Callable[[], Engine]
    compiled: bool = False


@dataclass(frozen=True)
class ProvenEngine:
    """An engine that answered all probes as the model did, and the time that it needs."""

    engine: Engine
    first_row_seconds: float
    further_row_seconds: float
    joint: RunJoint | None = None
    """Answers several requests at once; None if that does not save time."""

    def seconds(self, rows: int) -> float:
        return self.first_row_seconds + self.further_row_seconds * rows

    @property
    def max_rows(self) -> int:
        """The largest batch that keeps the next one waiting for no longer than `MAX_BATCH_SECONDS`."""
        return max(1, int(MAX_BATCH_SECONDS / max(self.further_row_seconds, 1e-9)))
