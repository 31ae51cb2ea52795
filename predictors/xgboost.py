"""XGBoost models: Boosters and the scikit-learn interface."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.categories import Categories, converting, to_categories
from predictors.model.loaded import LoadError
from predictors.model.methods import class_probabilities, native_methods, pyfunc_method
from predictors.model.native import Method, Native, implementation_of
from predictors.model.xgboost_categories import ONLY_CODES, CodeTables, stored_categories
from predictors.runtime.cpus import cpu_limit
from predictors.signature.plan import read_plan

PROBABILITIES = ("binary:logistic", "multi:softprob")


class XGBoostModel(MLflowModel):
    flavor: ClassVar[str] = "xgboost"

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        raw = implementation.get_raw_model()
        booster = raw.get_booster() if hasattr(raw, "get_booster") else raw
        booster.set_param({"nthread": cpu_limit()})
        categorical = "c" in (booster.feature_types or ())
        predict = pyfunc_method(mlmodel, implementation)
        if categorical and raw is booster and self.settings.unseen_category == "native":
            predict = predict_categories(booster)
        methods = {"predict": predict, **native_methods(raw, ("predict_proba", "apply"))}
        if raw is booster and objective_of(booster) in PROBABILITIES:
            methods["predict_proba"] = class_probabilities(predict)
        if categorical:
            methods = self.taking_categories(methods, booster, mlmodel, wrapped=raw is not booster)
        return Native(
            methods=methods,
            raw=raw,
            probabilities=methods.get("predict_proba"),
            width=int(booster.num_features()),
            names=tuple(booster.feature_names or ()),
            blames_input=True,
        )

    def taking_categories(
        self, methods: Mapping[str, Method], booster: Any, mlmodel: MLmodel, *, wrapped: bool
    ) -> dict[str, Method]:
        """The methods for tables that hold categories, not their codes."""
        stored = stored_categories(booster, str(mlmodel.config(self.flavor).get("xgb_version")))
        unseen = self.settings.unseen_category
        if unseen == "native":
            convert = partial(to_categories, columns=stored)
            return {name: converting(method, convert) for name, method in methods.items()}
        codes = CodeTables(booster, Categories(stored, unseen))
        text = [field.name for field in read_plan(mlmodel).inputs if field.type == "string"]
        if wanting := [name for name in codes.names_without_categories if name in text]:
            raise LoadError(f"'{wanting[0]}' is a text column, but {ONLY_CODES} (--unseen-category=native serves it)")
        # XGBoost's scikit-learn interface predicts from codes in an array; all else takes them in a table with names.
        return {
            name: converting(method, codes.array if wrapped and name != "apply" else codes.table)
            for name, method in methods.items()
        }

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.boosting import xgboost

        return [xgboost(native.raw, native.probabilities is not None)]


def predict_categories(booster: Any) -> Method:
    """`predict` of MLflow, whose own takes no tables with pandas' categories."""
    from xgboost import DMatrix

    known = inspect.signature(booster.predict).parameters

    def run(data: Any, params: Mapping[str, Any]) -> Any:
        options = {name: value for name, value in params.items() if name in known}
        return booster.predict(DMatrix(data, enable_categorical=True), **options)

    return run


def objective_of(booster: Any) -> str:
    import json

    config: dict[str, Any] = json.loads(booster.save_config())
    return str(config["learner"]["objective"]["name"])


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=XGBoostModel.flavor)
