"""LightGBM models: Boosters and the scikit-learn interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.categories import Categories, CategoryColumn, converting, to_categories
from predictors.model.lightgbm_text import check_text
from predictors.model.methods import class_probabilities, native_methods, pyfunc_method
from predictors.model.native import Native, implementation_of
from predictors.runtime.cpus import cpu_limit
from predictors.signature.plan import read_plan

if TYPE_CHECKING:
    import pandas as pd

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
            convert = self.conversion(booster, mlmodel)
            methods = {name: converting(method, convert) for name, method in methods.items()}
        return Native(
            methods=methods,
            raw=raw,
            probabilities=methods.get("predict_proba"),
            width=int(booster.num_feature()),
            names=trained_names(booster),
            fills_missing=True,
            blames_input=True,
        )

    def conversion(self, booster: Any, mlmodel: MLmodel) -> Callable[[pd.DataFrame], pd.DataFrame]:
        """The conversion of a request's table to one with the categories of the training."""
        text = [i for i, field in enumerate(read_plan(mlmodel).inputs) if field.type in ("string", "boolean")]
        positions = category_columns(booster, text)
        if self.settings.unseen_category == "native" or positions is None:
            return lambda data: to_categories(data, positions or ())
        columns = dict(zip(positions, map(CategoryColumn.of, booster.pandas_categorical), strict=True))
        return Categories(columns, self.settings.unseen_category).as_categories

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.boosting import lightgbm

        return [lightgbm(native.raw, native.probabilities is not None)]


def check_file(mlmodel: MLmodel) -> None:
    """Only a Booster is a text; the scikit-learn interface is pickled, or in a skops file."""
    config = mlmodel.config("lightgbm")
    file = mlmodel.path / str(config.get("data", mlmodel.pyfunc.get("data", "")))
    if config.get("model_class", BOOSTER) == BOOSTER and file.is_file():
        check_text(file)


def words_of(booster: Any, key: str) -> list[str]:
    """The words of a line in the head of the model's text."""
    head: str = booster.model_to_string(num_iteration=1)
    line = next((line for line in head.splitlines() if line.startswith(f"{key}=")), "")
    return line.removeprefix(f"{key}=").split()


def objective_of(booster: Any) -> str:
    return next(iter(words_of(booster, "objective")), "")


def category_columns(booster: Any, text: list[int]) -> list[int] | None:
    """The positions of the columns that had pandas' categories in the training; None if the model does not tell.

    It holds the ranges of numbers, as [0:1], lists of codes, and 'none' for a column that is not used.
    """
    kinds = words_of(booster, "feature_infos")
    coded = [i for i, kind in enumerate(kinds) if not kind.startswith("[") and kind != "none"]
    unused = [i for i, kind in enumerate(kinds) if kind == "none"]
    possible = coded, sorted([*coded, *unused]), sorted({*coded, *(i for i in unused if i in text)}), text
    return next((columns for columns in possible if len(columns) == len(booster.pandas_categorical)), None)


def trained_names(booster: Any) -> tuple[str, ...]:
    """The column names, unless LightGBM generated them."""
    names = tuple(booster.feature_name())
    return () if names == tuple(f"Column_{i}" for i in range(len(names))) else names


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=LightGBMModel.flavor)
