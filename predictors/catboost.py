"""CatBoost models."""

from __future__ import annotations

from typing import Any, ClassVar

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import native_methods, pyfunc_method
from predictors.model.native import Native, implementation_of


class CatBoostModel(MLflowModel):
    flavor: ClassVar[str] = "catboost"

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        raw = implementation.get_raw_model()
        methods = {
            "predict": pyfunc_method(mlmodel, implementation),
            **native_methods(raw, ("predict_proba", "predict_log_proba")),
        }
        return Native(
            methods=methods,
            raw=raw,
            probabilities=methods.get("predict_proba"),
            width=len(raw.feature_names_),
            names=trained_names(raw),
            blames_input=True,
        )

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.boosting import catboost

        return [catboost(native.raw)]


def trained_names(raw: Any) -> tuple[str, ...]:
    """The column names, unless CatBoost generated them."""
    names = tuple(raw.feature_names_)
    return () if names == tuple(str(i) for i in range(len(names))) else names


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=CatBoostModel.flavor)
