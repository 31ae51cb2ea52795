"""scikit-learn's preprocessing of columns as a function from rows to features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from predictors.engines.columns.encoding import encoding_of
from predictors.engines.columns.features import Features, SparseRows, beside, from_scipy
from predictors.engines.columns.frames import Cell
from predictors.engines.columns.vectorizers import is_vectorizer, probe_texts, vectorizing_of, weighting_of
from predictors.engines.engine import Unsuited
from predictors.engines.steps import step_of
from predictors.protocol.casting import Array
from predictors.protocol.mixed_rows import ColumnType, MixedRows

FeatureStep: TypeAlias = Callable[[Features], Features]


@dataclass(frozen=True)
class Preprocessing:
    run: Callable[[MixedRows], Features]
    categories: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    """By column, the values that it distinguishes; they make good probes."""


def preprocessing_of(transformer: Any, columns: Sequence[ColumnType]) -> Preprocessing:
    """The function for a transformer of these columns; raises `Unsuited`, which names the step that has none."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    kind = type(transformer)
    if kind is Pipeline:
        return chain_of([step for _, step in transformer.steps], columns)
    if kind is ColumnTransformer:
        return columns_apart(transformer, columns)
    if kind is FeatureUnion:
        return union_of(transformer, columns)
    return chain_of([transformer], columns)


def chain_of(steps: Sequence[Any], columns: Sequence[ColumnType]) -> Preprocessing:
    """Several steps, each of which takes what the one before it gives."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    steps = [step for step in steps if step is not None and not (isinstance(step, str) and step == "passthrough")]
    if not steps:
        return numbers_of(columns, rowwise=all(column.dtype.kind in "ib" for column in columns))
    if type(steps[0]) in (ColumnTransformer, FeatureUnion, Pipeline):
        return followed_by(preprocessing_of(steps[0], columns), steps[1:])
    if is_vectorizer(steps[0]) and len(columns) == 1 and columns[0].is_text:
        vectorizing = vectorizing_of(steps[0], columns[0])
        return followed_by(Preprocessing(vectorizing, {columns[0].name: probe_texts(steps[0])}), steps[1:])
    encoders = encoding_steps(steps)
    if encoders:
        return followed_by(encoder_of(steps[:encoders], columns), steps[encoders:])
    return followed_by(numbers_of(columns, type(steps[0]).__name__), steps)


def followed_by(first: Preprocessing, steps: Sequence[Any]) -> Preprocessing:
    functions = [feature_step(step) for step in steps if step is not None and not isinstance(step, str)]
    if not functions:
        return first

    def run(rows: MixedRows) -> Features:
        features = first.run(rows)
        for function in functions:
            features = function(features)
        return features

    return Preprocessing(run, first.categories)


def numbers_of(columns: Sequence[ColumnType], step: str = "the model", *, rowwise: bool = False) -> Preprocessing:
    """The matrix of columns of numbers, as scikit-learn makes it of a DataFrame: column by column in memory.

    `rowwise`: row by row, as numpy copies one of integers or booleans when it multiplies it by doubles.
    """
    for column in columns:
        if column.is_text or column.is_date:
            raise Unsuited(
                f"input '{column.name}' is {'text' if column.is_text else 'a date'}, which {step} gets as it is"
            )
    places = [column.place for column in columns]
    in_order = places == [*range(len(places))]
    single = bool(columns) and all(column.dtype == np.float32 for column in columns)

    def numbers(rows: MixedRows) -> Array:
        matrix = rows.numbers
        if not in_order or len(places) < matrix.shape[1]:
            matrix = matrix.T[places].T
        if rowwise:
            return np.ascontiguousarray(matrix)
        return matrix.astype(np.float32) if single else matrix

    return Preprocessing(numbers)


def columns_apart(transformer: Any, columns: Sequence[ColumnType]) -> Preprocessing:
    """A ColumnTransformer: the parts for its groups of columns, side by side."""
    by_name = {column.name: column for column in columns}
    names = getattr(transformer, "feature_names_in_", None)
    if names is None:
        raise Unsuited("its ColumnTransformer was trained on columns without names")
    parts = []
    for name, fitted, _ in transformer.transformers_:
        positions = transformer._transformer_to_input_indices[name]
        if (isinstance(fitted, str) and fitted == "drop") or not len(positions):
            continue
        own = [by_name[names[position]] for position in positions]
        try:
            parts.append(preprocessing_of(fitted, own) if not isinstance(fitted, str) else numbers_of(own))
        except Unsuited as unsuited:
            raise Unsuited(f"step '{name}': {unsuited}") from None
    return side_by_side(parts, sparse=bool(transformer.sparse_output_))


def union_of(union: Any, columns: Sequence[ColumnType]) -> Preprocessing:
    if union.transformer_weights:
        raise Unsuited("its FeatureUnion has weights")
    parts = [
        numbers_of(columns) if isinstance(step, str) else preprocessing_of(step, columns)
        for _, step in union.transformer_list
        if not (isinstance(step, str) and step == "drop")
    ]
    return side_by_side(parts, sparse=None)


def side_by_side(parts: Sequence[Preprocessing], *, sparse: bool | None) -> Preprocessing:
    """`sparse`: None where the output is sparse if one of the parts is."""
    if not parts:
        raise Unsuited("its preprocessing has no output")

    def run(rows: MixedRows) -> Features:
        blocks = [part.run(rows) for part in parts]
        as_sparse = any(isinstance(block, SparseRows) for block in blocks) if sparse is None else sparse
        return beside(blocks, sparse=as_sparse)

    categories: dict[str, list[Cell]] = {}
    for part in parts:
        for name, cells in part.categories.items():
            categories.setdefault(name, []).extend(cells)
    return Preprocessing(run, categories)


# -- encoders ----------------------------------------------------------------------------------------------------


def encoding_steps(steps: Sequence[Any]) -> int:
    """How many of the first steps treat every column by itself, up to the last encoder."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

    count = 0
    for number, step in enumerate(steps, 1):
        if type(step) in (OneHotEncoder, OrdinalEncoder, TargetEncoder):
            count = number
            if type(step) is not OrdinalEncoder:
                break
        elif type(step) is not SimpleImputer:
            break
    return count


def encoder_of(steps: Sequence[Any], columns: Sequence[ColumnType]) -> Preprocessing:
    for column in columns:
        if column.is_date:
            raise Unsuited(f"input '{column.name}' is a date")

    def transform(frame: Any) -> Any:
        for step in steps:
            frame = step.transform(frame)
        return frame

    categories: list[list[Cell]] = [[] for _ in columns]
    for step in steps:
        for number, cells in enumerate(known_to(step, len(columns))):
            categories[number] += cells
    known = [cells_of_type(column, cells) for column, cells in zip(columns, categories, strict=True)]
    for column, cells in zip(columns, known, strict=True):
        if not cells:
            raise Unsuited(f"input '{column.name}' has no category")
    by_name = {column.name: cells for column, cells in zip(columns, known, strict=True)}
    return Preprocessing(encoding_of(transform, columns, known), by_name)


def known_to(step: Any, columns: int) -> Sequence[Sequence[Any]]:
    """The categories of each column that a step knows."""
    if hasattr(step, "categories_"):
        if len(step.categories_) != columns:
            raise Unsuited("an encoder takes other columns than were sent")
        return [list(cells) for cells in step.categories_]
    return [[step.missing_values]] * columns


def cells_of_type(column: ColumnType, cells: Sequence[Any]) -> list[Cell]:
    """Those cells that a request may hold, without nulls, each once."""
    if column.is_text:
        return list(dict.fromkeys(str(cell) for cell in cells if isinstance(cell, str)))
    numbers = [float(cell) for cell in cells if not isinstance(cell, str) and cell is not None]
    if column.dtype.kind == "i":
        numbers = [number for number in numbers if number.is_integer()]
    return list(dict.fromkeys(number for number in numbers if math.isfinite(number)))


# -- steps after the first ------------------------------------------------------------------------------------------


def feature_step(transformer: Any) -> FeatureStep:
    """A transformation of features: that of a matrix, or scikit-learn's own of a sparse matrix."""
    from sklearn.feature_extraction.text import TfidfTransformer

    dense = step_of(transformer)
    if type(transformer) is TfidfTransformer:
        weigh = weighting_of(transformer)
        return lambda features: weigh(features) if isinstance(features, SparseRows) else dense(features)

    def step(features: Features) -> Features:
        if not isinstance(features, SparseRows):
            return dense(features)
        outcome = transformer.transform(features.scipy())
        return from_scipy(outcome) if hasattr(outcome, "tocsr") else np.asarray(outcome)

    return step
