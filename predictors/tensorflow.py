"""TensorFlow models: Keras files and SavedModels."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import class_probabilities, pyfunc_method
from predictors.model.native import Native, implementation_of


class TensorFlowModel(MLflowModel):
    flavor: ClassVar[str] = "tensorflow"

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        raw = implementation.get_raw_model()
        if hasattr(raw, "layers"):
            raw.predict = partial(raw.predict, verbose=0)  # otherwise Keras draws a progress bar for each call
        methods = {"predict": pyfunc_method(mlmodel, implementation)}
        if ends_in_probabilities(raw):
            methods["predict_proba"] = class_probabilities(methods["predict"])
        return Native(methods=methods, raw=raw)

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.keras_function import keras

        return [keras(native.raw)] if hasattr(native.raw, "layers") else []


def ends_in_probabilities(raw: Any) -> bool:
    layers = getattr(raw, "layers", None)
    activation = getattr(layers[-1], "activation", None) if layers else None
    return getattr(activation, "__name__", "") in ("softmax", "sigmoid")


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=TensorFlowModel.flavor)
