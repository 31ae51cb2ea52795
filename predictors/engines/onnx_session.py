"""ONNX models without what MLflow does around their session."""

from __future__ import annotations

from typing import Any

import numpy as np

from predictors.engines.engine import Answer, Engine, EngineCandidate, Unsuited
from predictors.protocol.casting import Array


def onnx(session: Any) -> EngineCandidate:
    return EngineCandidate("onnxruntime", lambda: session_engine(session))


def session_engine(session: Any) -> Engine:
    """Every output by its name, as MLflow has them."""
    inputs, names = session.get_inputs(), [output.name for output in session.get_outputs()]
    if len(inputs) > 1:
        raise Unsuited("it has several inputs")
    if any(not output.type.startswith("tensor(") for output in session.get_outputs()):
        raise Unsuited("it has an output that is no tensor")
    only = inputs[0]
    if only.shape and isinstance(only.shape[0], int):
        raise Unsuited(f"it takes {only.shape[0]} rows and no other number")
    single = only.type == "tensor(float)"
    name, answer = only.name, session.run

    def run(rows: Array, probabilities: bool) -> Answer:
        if single and rows.dtype == np.float64:
            with np.errstate(over="ignore"):
                rows = rows.astype(np.float32)
        return dict(zip(names, answer(None, {name: rows}), strict=True)), None

    return Engine("onnxruntime", run)
