"""XGBoost models: Boosters and the scikit-learn interface."""

from __future__ import annotations

from typing import Any, ClassVar

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import class_probabilities, native_methods, pyfunc_method, with_categories
from predictors.model.native import Native, implementation_of
from predictors.runtime.cpus import cpu_limit

PROBABILITIES = ("binary:logistic", "multi:softprob")


class XGBoostModel(MLflowModel):
    flavor: ClassVar[str] = "xgboost"

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        raw = implementation.get_raw_model()
        booster = raw.get_booster() if hasattr(raw, "get_booster") else raw
        booster.set_param({"nthread": cpu_limit()})
        categorical = "c" in (booster.feature_types or ())
        methods = {
            "predict": pyfunc_method(mlmodel, implementation),
            **native_methods(raw, ("predict_proba", "apply")),
        }
        if raw is booster and objective_of(booster) in PROBABILITIES:
            methods["predict_proba"] = class_probabilities(methods["predict"])
        if categorical:
            methods = {name: with_categories(method) for name, method in methods.items()}
        return Native(
            methods=methods,
            raw=raw,
            probabilities=methods.get("predict_proba"),
            width=int(booster.num_features()),
            names=tuple(booster.feature_names or ()),
            blames_input=True,
        )

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.boosting import xgboost

        return [xgboost(native.raw, native.probabilities is not None)]


def objective_of(booster: Any) -> str:
    import json

    config: dict[str, Any] = json.loads(booster.save_config())
    return str(config["learner"]["objective"]["name"])


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=XGBoostModel.flavor)
