"""The fast path through a signature that is one tensor of texts: a request as one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.protocol.batch import Batch
from predictors.protocol.mixed_rows import ColumnType, MixedRows
from predictors.signature.columns import texts_of
from predictors.signature.fields import check_padding
from predictors.signature.plan import SignaturePlan

TEXT = ColumnType("", np.dtype(object), 0)


@dataclass(frozen=True)
class TextPlan:
    """How a batch becomes `MixedRows` of texts alone."""

    types: tuple[ColumnType, ...] = (TEXT,)

    def conform(self, batch: Batch) -> MixedRows | None:
        """The texts; None if the signature plan has to convert or refuse them."""
        columns, values = batch.columns, batch.rows
        if columns is not None:
            values = next(iter(columns.values())) if len(columns) == 1 else None
        try:
            texts = self.texts_in(values)
        except (TypeError, ValueError):
            return None
        return MixedRows(np.empty((len(texts), 0)), [texts]) if texts else None

    def texts_in(self, values: Any) -> list[str]:
        if not isinstance(values, list) and not (isinstance(values, np.ndarray) and values.ndim == 1):
            raise TypeError
        texts: list[Any] = [*texts_of(values)]
        for text in texts:
            if text is None or text.endswith("\x00"):  # numpy cuts it off
                raise ValueError
        check_padding(texts, "")
        return texts

    def batch_of(self, rows: MixedRows) -> Batch:
        """The request that has these rows."""
        return Batch(rows=[*rows.texts[0]])


def compile_texts(plan: SignaturePlan) -> TextPlan | None:
    """The fast path for texts; None if the signature is anything else."""
    if not plan.tensors or plan.from_type_hints or len(plan.inputs) != 1:
        return None
    only = plan.inputs[0]
    return TextPlan() if not only.name and only.shape == (-1,) and only.dtype.kind in "UO" else None
