"""`Loaded`, the loaded model: one immutable object, which a request keeps until it is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from predictors.engines.choice import EngineChoice
from predictors.engines.engine import Rows
from predictors.environments.dependencies import UnmetRequirement
from predictors.features.declaration import Declaration
from predictors.flavor import MLmodel
from predictors.model.native import Native
from predictors.protocol.batch import Batch
from predictors.signature.columns import ColumnPlan
from predictors.signature.matrix import MatrixPlan
from predictors.signature.plan import SignaturePlan
from predictors.signature.tensors import TensorPlan
from predictors.signature.texts import TextPlan
from predictors.storage.source import Source

Tensor: TypeAlias = Mapping[str, Any]


class LoadError(Exception):
    """The model cannot be served; the message is one line for the operator."""


@dataclass(frozen=True)
class Loaded:
    """A model and everything that predictions need. It is immutable: a reload builds another one."""

    native: Native
    plan: SignaturePlan
    flavor: str
    version: str
    source: Source
    mlmodel: MLmodel
    example: Batch | None = None
    """The model's own example, else a placeholder row; None if the model does not accept that."""
    matrix: MatrixPlan | None = None
    """How a request becomes a matrix; None if its columns are not all numbers."""
    rows_plan: MatrixPlan | ColumnPlan | TextPlan | TensorPlan | None = None
    """How a request becomes the rows of the engine."""
    choice: EngineChoice = field(default_factory=EngineChoice)
    outputs: tuple[Tensor, ...] = ()
    """The output tensors of the predicted example; those of the signature if none was predicted."""
    declaration: Declaration | None = None
    """The features that are looked up for its requests."""
    unmet: tuple[UnmetRequirement, ...] | None = None
    """The requirements that the installed packages do not meet; None if they were not checked."""
    load_seconds: float = 0.0

    @property
    def methods(self) -> list[str]:
        return sorted(self.native.methods)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.plan.outputs if output.name)

    def engine_rows(self, batch: Batch) -> Rows | None:
        """The rows of a request as the engine takes them; None if the request needs the model itself."""
        if self.rows_plan is None or self.choice.proven is None or batch.params or batch.ignored:
            return None
        return self.rows_plan.conform(batch) if batch.method in (None, "predict") else None


@dataclass
class LoadingStatus:
    """The progress of loading, for readiness probes."""

    text: str = "not loaded yet"
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.text = text
        for listener in self.listeners:
            listener(text)
