"""LightGBM models: Boosters and the scikit-learn interface."""

from __future__ import annotations

from typing import Any, ClassVar

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.lightgbm_text import check_text
from predictors.model.methods import class_probabilities, native_methods, pyfunc_method, with_categories
from predictors.model.native import Native, implementation_of
from predictors.runtime.cpus import cpu_limit

BOOSTER = "lightgbm.basic.Booster"
PROBABILITIES = ("binary", "multiclass", "multiclassova", "cross_entropy")


class LightGBMModel(MLflowModel):
    flavor: ClassVar[str] = "lightgbm"

    def load_native(self, mlmodel: MLmodel) -> Native:
        check_file(mlmodel)
        implementation = implementation_of(mlmodel, self.flavor)
        raw = implementation.get_raw_model()
        booster = getattr(raw, "booster_", raw)
        if getattr(raw, "n_jobs", 0) is None:
            raw.n_jobs = cpu_limit()  # LightGBM would use all CPUs of the machine
        methods = {"predict": pyfunc_method(mlmodel, implementation), **native_methods(raw, ("predict_proba",))}
        if raw is booster and objective_of(booster) in PROBABILITIES:
            methods["predict_proba"] = class_probabilities(methods["predict"])
        if booster.pandas_categorical:
            methods = {name: with_categories(method) for name, method in methods.items()}
        return Native(
            methods=methods,
            raw=raw,
            probabilities=methods.get("predict_proba"),
            width=int(booster.num_feature()),
            names=trained_names(booster),
            blames_input=True,
        )

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.boosting import lightgbm

        return [lightgbm(native.raw, native.probabilities is not None)]


def check_file(mlmodel: MLmodel) -> None:
    """Only a Booster is a text; the scikit-learn interface is pickled, or in a skops file."""
    config = mlmodel.config("lightgbm")
    file = mlmodel.path / str(config.get("data", mlmodel.pyfunc.get("data", "")))
    if config.get("model_class", BOOSTER) == BOOSTER and file.is_file():
        check_text(file)


def objective_of(booster: Any) -> str:
    """The objective is the first word of its line in the model's text."""
    head = booster.model_to_string(num_iteration=1)
    line = next((line for line in head.splitlines() if line.startswith("objective=")), "objective=")
    return str(line.removeprefix("objective=").split(" ")[0])


def trained_names(booster: Any) -> tuple[str, ...]:
    """The column names, unless LightGBM generated them."""
    names = tuple(booster.feature_name())
    return () if names == tuple(f"Column_{i}" for i in range(len(names))) else names


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=LightGBMModel.flavor)
