"""The engines for pipelines of scikit-learn on columns of several types: preprocessing, then a model of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from predictors.engines import boosting
from predictors.engines.category_splits import code_counts, without_preprocessor
from predictors.engines.columns.features import Features, SparseRows, as_dense
from predictors.engines.columns.preprocessing import Preprocessing, chain_of
from predictors.engines.engine import Answer, Declined, Engine, EngineCandidate, Unsuited
from predictors.engines.estimators import without_checks
from predictors.engines.forests import run_trees
from predictors.engines.linear import finish_of, multiply_parts
from predictors.engines.onnx_trees import onnx_runtime_engine
from predictors.engines.probes import Probing
from predictors.engines.proof import limit_probes, prove
from predictors.protocol.mixed_rows import ColumnType, MixedRows, join_rows

BOOSTING: dict[str, Callable[[Any], EngineCandidate]] = {
    "xgboost": lambda model: boosting.xgboost(model, proba_from_predictions=False),
    "lightgbm": lambda model: boosting.lightgbm(model, proba_from_predictions=False),
    "catboost": boosting.catboost,
}


def column_candidates(model: Any, columns: Sequence[ColumnType]) -> list[EngineCandidate]:
    """The engines for a model that takes these columns as a DataFrame, the most promising first."""
    pipeline = ColumnPipeline(model, columns)
    if not pipeline.selects_columns and all(column.dtype.kind in "if" for column in columns):
        return []  # a matrix would do
    library = type(pipeline.last).__module__.partition(".")[0]
    candidates = [
        EngineCandidate("onnxruntime", pipeline.compiled_engine, compiled=True),
        EngineCandidate("numpy", pipeline.numpy_engine),
        EngineCandidate("numpy", lambda: pipeline.numpy_engine(other_layout=True)),
        EngineCandidate("sklearn", pipeline.sklearn_engine),
    ]
    if library in BOOSTING:
        candidates.insert(0, EngineCandidate(library, pipeline.boosting_engine))
    return candidates


class ColumnPipeline:
    """A model as the preprocessing of its columns and its last step."""

    def __init__(self, model: Any, columns: Sequence[ColumnType]) -> None:
        from sklearn.pipeline import Pipeline

        *self.steps, self.last = [step for _, step in model.steps] if type(model) is Pipeline else [model]
        if not self.steps:
            encoder, self.last = without_preprocessor(model)
            self.steps = [] if encoder is None else [encoder]
        self.columns = columns

    @property
    def selects_columns(self) -> bool:
        """Whether its first step may treat columns differently."""
        from sklearn.compose import ColumnTransformer
        from sklearn.pipeline import FeatureUnion, Pipeline

        return bool(self.steps) and isinstance(self.steps[0], (ColumnTransformer, FeatureUnion, Pipeline))

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return chain_of(self.steps, self.columns)

    def features(self, rows: MixedRows) -> Features:
        if np.isinf(rows.numbers).any():
            raise Declined  # a scaler would refuse it, if the last step does not
        return self.preprocessing.run(rows)

    def finite_features(self, rows: MixedRows) -> Features:
        features = self.preprocessing.run(rows)
        if not np.isfinite(features.values if isinstance(features, SparseRows) else features).all():
            raise Declined
        return features

    def engine(self, last: Engine) -> Engine:
        """The engine of the last step with the preprocessing before it."""
        run, features = last.run, self.features
        return Engine(
            last.name,
            lambda rows, wanted: run(as_dense(features(rows)), wanted),
            categories=self.preprocessing.categories,
            compiled=last.compiled,
        )

    def compiled_engine(self) -> Engine:
        _, core = without_preprocessor(self.last)
        engine = onnx_runtime_engine(core)
        prove_alone(engine, core)
        return self.engine(engine if core is self.last else onnx_runtime_engine(self.last))

    def numpy_engine(self, *, other_layout: bool = False) -> Engine:
        """`other_layout`: with the features row by row in memory where they are column by column, and vice versa.

        What numpy makes of a single column beside others depends on how that happens to lie in memory.
        """
        try:
            finish = finish_of(self.last)
        except Unsuited:
            if other_layout:
                raise
            return self.engine(Engine("numpy", run_trees(self.last)))

        def features(rows: MixedRows) -> Features:
            block = self.finite_features(rows)
            return in_other_layout(block) if other_layout else block

        def joint(requests: Sequence[MixedRows], probabilities: bool) -> Answer:
            block = features(join_rows(requests))
            if isinstance(block, SparseRows):
                return finish(block.__matmul__, probabilities)
            sizes, columnwise = [len(rows) for rows in requests], not block.flags.c_contiguous
            rows = np.ascontiguousarray(block)
            return finish(lambda weights: multiply_parts(rows, weights, sizes, columnwise=columnwise), probabilities)

        return Engine(
            "numpy",
            lambda rows, wanted: finish(features(rows).__matmul__, wanted),
            categories=self.preprocessing.categories,
            joint=joint,
        )

    def boosting_engine(self) -> Engine:
        return self.engine(BOOSTING[type(self.last).__module__.partition(".")[0]](self.last).build())

    def sklearn_engine(self) -> Engine:
        last, features = without_checks(self.last), self.features

        def run(rows: MixedRows, probabilities: bool) -> Answer:
            block = features(rows)
            return last(block.scipy() if isinstance(block, SparseRows) else block, probabilities)

        return Engine("sklearn", run, categories=self.preprocessing.categories)


def in_other_layout(block: Features) -> Features:
    if isinstance(block, SparseRows):
        raise Declined
    return np.asfortranarray(block) if block.flags.c_contiguous else np.ascontiguousarray(block)


def prove_alone(engine: Engine, last: Any) -> None:
    """Compares the engine of a last step at its own thresholds, which probes before the preprocessing miss."""
    native = without_checks(last)
    codes = code_counts(last) if hasattr(last, "_bin_mapper") else {}
    probing = Probing(last.n_features_in_, np.dtype(np.float64), codes=codes)
    prove(engine, native, limit_probes(probing.groups(engine), native))
