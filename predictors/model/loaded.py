"""The loaded model: one immutable object that requests finish on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from predictors.engines.engine import Choice
from predictors.environments.dependencies import UnmetRequirement
from predictors.features.declaration import Declaration
from predictors.flavor import MLmodel
from predictors.model.native import Native
from predictors.protocol.batch import Batch
from predictors.protocol.casting import Array
from predictors.signature.matrix import MatrixPlan
from predictors.signature.plan import SignaturePlan
from predictors.storage.source import Source

Tensor: TypeAlias = Mapping[str, Any]


class LoadError(Exception):
    """The model cannot be served; the message is one line for the operator."""


@dataclass(frozen=True)
class Loaded:
    """Everything that answers a request. Immutable: a reload builds another one."""

    native: Native
    plan: SignaturePlan
    flavor: str
    version: str
    source: Source
    mlmodel: MLmodel
    example: Batch | None = None
    """The model's own; else a made-up row, unless the model turned out not to take it."""
    matrix: MatrixPlan | None = None
    """The short way of a request's rows to the engine."""
    choice: Choice = field(default_factory=Choice)
    outputs: tuple[Tensor, ...] = ()
    """Output tensors as the model really answered its example; else as the signature has them."""
    declaration: Declaration | None = None
    """The features that are looked up for it."""
    differences: tuple[UnmetRequirement, ...] | None = None
    """What it asks for and what is installed; None if nobody looked."""
    seconds: float = 0.0

    @property
    def methods(self) -> list[str]:
        return sorted(self.native.methods)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.plan.outputs if one.name)

    def rows_of(self, batch: Batch) -> Array | None:
        """The rows of a request that the engine can answer; None for one that needs the model itself."""
        if self.matrix is None or self.choice.proven is None or batch.params:
            return None
        return self.matrix.conform(batch) if batch.method in (None, "predict") else None


@dataclass
class LoadingStatus:
    """How far loading is, for readiness probes."""

    text: str = "not loaded yet"
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.text = text
        for listener in self.listeners:
            listener(text)
