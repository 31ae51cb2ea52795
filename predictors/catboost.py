"""CatBoost models."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.loaded import LoadError
from predictors.model.methods import native_methods, pyfunc_method
from predictors.model.native import Native, implementation_of


class CatBoostModel(MLflowModel):
    flavor: ClassVar[str] = "catboost"

    def load_native(self, mlmodel: MLmodel) -> Native:
        check_json(mlmodel)
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


def check_json(mlmodel: MLmodel) -> None:
    """Refuses a JSON model that is cut off: CatBoost would load what is there, and predict other numbers."""
    config = mlmodel.config("catboost")
    file = mlmodel.path / str(config.get("data", ""))
    if config.get("save_format") != "json" or not file.is_file():
        return
    text = file.read_bytes().strip()
    balanced = text.count(b"{") == text.count(b"}") and text.count(b"[") == text.count(b"]")
    try:
        if not (balanced and text.endswith(b"}")):
            orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise LoadError(f"the CatBoost model {file} is cut off or no JSON: {error}") from None


def trained_names(raw: Any) -> tuple[str, ...]:
    """The column names, unless CatBoost generated them."""
    names = tuple(raw.feature_names_)
    return () if names == tuple(str(i) for i in range(len(names))) else names


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=CatBoostModel.flavor)
