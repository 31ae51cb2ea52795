"""Which engine serves a loaded model, and how the rows of a request reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

from predictors.engines.choice import EngineChoice, choose
from predictors.engines.columns.probes import ColumnProbing
from predictors.engines.engine import Answer, EngineCandidate, Rows, Run
from predictors.engines.probes import Probing, TensorProbing
from predictors.model.loaded import Loaded
from predictors.model.native import Native
from predictors.model.settings import PredictionSettings
from predictors.protocol.errors import InvalidInput
from predictors.protocol.mixed_rows import ColumnType
from predictors.signature.columns import compile_columns
from predictors.signature.matrix import MatrixPlan, compile_matrix
from predictors.signature.tensors import TensorPlan, compile_tensor
from predictors.signature.texts import compile_texts

ColumnEngines: TypeAlias = Callable[[Native, Sequence[ColumnType]], list[EngineCandidate]]


def with_engine(
    loaded: Loaded,
    settings: PredictionSettings,
    engines: Callable[[Native], list[EngineCandidate]],
    column_engines: ColumnEngines,
) -> Loaded:
    """The model with the first engine that proves itself: of those of a matrix, else of those of columns."""
    plan, matrix = loaded.plan, compile_matrix(loaded.plan)
    mode, batching = settings.engine, settings.batching
    loaded = replace(loaded, matrix=matrix, rows_plan=matrix)
    reason = why_none(loaded)
    if reason:
        return replace(loaded, choice=EngineChoice(reasons={"engine": reason}))
    choice = EngineChoice(reasons={"engine": "it takes one matrix of numbers"})
    if matrix is not None:
        native = run_of(loaded, plan.conform_matrix)
        choice = choose(engines(loaded.native), mode, matrix_probing(loaded, matrix), native, batching=batching)
    elif (tensor := compile_tensor(plan)) is not None and (candidates := engines(loaded.native)):
        native = run_of(loaded, lambda rows: plan.conform(tensor.batch_of(rows)))
        choice = choose(candidates, mode, tensor_probing(loaded, tensor), native, batching=batching)
        return replace(loaded, rows_plan=tensor, choice=choice)
    columns = compile_columns(plan) or compile_texts(plan) if choice.proven is None else None
    candidates = [] if columns is None else column_engines(loaded.native, columns.types)
    if columns is None or not candidates:
        return replace(loaded, choice=choice)
    probing = ColumnProbing(columns.types, None if loaded.example is None else columns.conform(loaded.example))
    native = run_of(loaded, lambda rows: plan.conform(columns.batch_of(rows)))
    of_columns = choose(candidates, mode, probing, native, batching=batching)
    if of_columns.proven is None and matrix is not None:
        return replace(loaded, choice=choice)
    return replace(loaded, rows_plan=columns, choice=of_columns)


def why_none(loaded: Loaded) -> str:
    """Why no engine can serve the model, whatever its library; empty if one may."""
    if loaded.mlmodel.pyfunc.get("predict_fn", "predict") != "predict":
        return "the model was saved with a predict function of its own"
    if loaded.plan.params:
        return "the model has parameters"
    return "" if loaded.native.default == "predict" else f"the model has no predict, but {loaded.native.default}"


def matrix_probing(loaded: Loaded, matrix: MatrixPlan) -> Probing:
    example = None if loaded.example is None else matrix.conform(loaded.example)
    return Probing(matrix.width, matrix.dtype, matrix.integers, matrix.columnwise, example)


def tensor_probing(loaded: Loaded, tensor: TensorPlan) -> TensorProbing:
    """Where the signature leaves a length open, it is that of the example, else 1."""
    example = None
    with suppress(InvalidInput):  # the warm-up has said that it does not fit the signature
        example = None if loaded.example is None else tensor.conform(loaded.example)
    lengths = tensor.field.shape[1:] if example is None else example.shape[1:]
    return TensorProbing(tuple(max(1, length) for length in lengths), tensor.field.dtype, example)


def run_of(loaded: Loaded, input_of: Callable[[Rows], Any]) -> Run:
    """The model itself; `input_of` makes its input of an engine's rows."""
    native = loaded.native

    def run(rows: Rows, probabilities: bool) -> Answer:
        data, predict_proba = input_of(rows), native.probabilities if probabilities else None
        return native.methods["predict"](data, {}), predict_proba(data, {}) if predict_proba else None

    return run
