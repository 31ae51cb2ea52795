"""The fast path through a signature that is one tensor of numbers, of any shape: a request as one array."""

from __future__ import annotations

from dataclasses import dataclass

from predictors.protocol.batch import Batch
from predictors.protocol.casting import Array
from predictors.signature.fields import Field
from predictors.signature.plan import SignaturePlan


@dataclass(frozen=True)
class TensorPlan:
    """How a batch becomes an array whose first axis is the rows. What does not fit raises, as in the signature plan."""

    plan: SignaturePlan

    @property
    def field(self) -> Field:
        return self.plan.inputs[0]

    def conform(self, batch: Batch) -> Array | None:
        """The rows as the model gets them; None if there are none."""
        data = self.plan.conform(batch)
        rows: Array = data[self.field.name] if self.field.name else data
        return rows if len(rows) else None

    def batch_of(self, rows: Array) -> Batch:
        """The request that has these rows."""
        return Batch(columns={self.field.name: rows}) if self.field.name else Batch(rows=rows)


def compile_tensor(plan: SignaturePlan) -> TensorPlan | None:
    """The fast path for a tensor whose first axis is free; None if the signature is anything else.

    A table of integers is left to the model: what its numbers may be, probes cannot know.
    """
    if not plan.tensors or plan.from_type_hints or len(plan.inputs) != 1:
        return None
    only = plan.inputs[0]
    probed = only.dtype.kind == "f" or (only.dtype.kind in "iu" and len(only.shape) > 2)
    return TensorPlan(plan) if probed and only.shape[:1] == (-1,) else None
