"""The engine that is chosen for a model of columns."""

from __future__ import annotations

from typing import Any

import pandas as pd

from predictors.engines.choice import EngineChoice, choose
from predictors.engines.columns.candidates import column_candidates
from predictors.engines.columns.probes import ColumnProbing
from predictors.engines.engine import Answer
from predictors.protocol.batch import Batch
from predictors.protocol.mixed_rows import MixedRows
from predictors.signature.columns import ColumnPlan, compile_columns
from predictors.signature.plan import SignaturePlan
from tests.predictors.engines.tables import plan_of


def chosen(model: Any, data: pd.DataFrame) -> tuple[EngineChoice, SignaturePlan, ColumnPlan]:
    """The choice, and how a request becomes the input of the model and of the engine."""
    plan = plan_of(data)
    columns = compile_columns(plan)
    assert columns is not None
    example = columns.conform(Batch(rows=data.head(3).to_dict("records")))

    def native(rows: MixedRows, probabilities: bool) -> Answer:
        frame = plan.conform(columns.batch_of(rows))
        proba = model.predict_proba(frame) if probabilities and hasattr(model, "predict_proba") else None
        return model.predict(frame), proba

    candidates = column_candidates(model, columns.types)
    return choose(candidates, "auto", ColumnProbing(columns.types, example), native), plan, columns
