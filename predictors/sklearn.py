"""scikit-learn models. `python -m predictors.sklearn` serves with this flavor forced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model import sklearn_files
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.methods import native_methods, pyfunc_method
from predictors.model.native import Native, implementation_of
from predictors.protocol.mixed_rows import ColumnType

METHODS = (
    "predict_proba", "predict_log_proba", "predict_joint_log_proba", "decision_function",
    "transform", "apply", "score_samples",
)  # fmt: skip


class SklearnModel(MLflowModel):
    flavor: ClassVar[str] = "sklearn"

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = sklearn_files.load(mlmodel) or implementation_of(mlmodel, self.flavor)
        raw = implementation.get_raw_model()
        methods = native_methods(raw, METHODS)
        probabilities = methods.get("predict_proba")
        if mlmodel.pyfunc.get("predict_fn", "predict") != "predict" or hasattr(raw, "predict"):
            methods["predict"] = pyfunc_method(mlmodel, implementation)
        if not methods:
            raise LoadError(f"{type(raw).__name__} has no method that could be served")
        if mlmodel.pyfunc.get("predict_fn", "predict") != "predict":
            probabilities = None  # the model's author chose another method
        return Native(
            methods=methods,
            raw=raw,
            probabilities=probabilities,
            width=getattr(raw, "n_features_in_", None),
            names=known_names(raw),
            default="predict" if "predict" in methods else next(iter(methods)),
            blames_input=True,
        )

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.estimators import engine_candidates

        return engine_candidates(native.raw)

    def column_engines(self, native: Native, columns: Sequence[ColumnType]) -> list[EngineCandidate]:
        from predictors.engines.columns.candidates import column_candidates

        return column_candidates(native.raw, columns)


def known_names(raw: Any) -> tuple[str, ...]:
    names = getattr(raw, "feature_names_in_", None)
    return () if names is None else tuple(map(str, names))


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=SklearnModel.flavor)
