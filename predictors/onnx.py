"""ONNX models, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import pyfunc_method
from predictors.model.native import Method, Native, implementation_of
from predictors.protocol.errors import ModelFailure

# What the converters from scikit-learn, XGBoost and LightGBM call the output with the probabilities.
PROBABILITY_OUTPUTS = ("probabilities", "output_probability")


class OnnxModel(MLflowModel):
    flavor: ClassVar[str] = "onnx"

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        session = implementation.rt
        predict = pyfunc_method(mlmodel, implementation)
        methods = {"predict": predict}
        found = [one.name for one in session.get_outputs() if one.name in PROBABILITY_OUTPUTS]
        if found:
            methods["predict_proba"] = probabilities(predict, found[0])
        inputs = session.get_inputs()
        only: list[Any] = inputs[0].shape if len(inputs) == 1 else []
        width = only[1] if len(only) == 2 and isinstance(only[1], int) else None
        return Native(methods=methods, raw=session, width=width)


def probabilities(predict: Method, output: str) -> Method:
    def run(data: Any, params: Mapping[str, Any]) -> Any:
        values = predict(data, params)[output]
        rows = list(values)
        if rows and isinstance(rows[0], dict):  # ZipMap: a mapping from class to probability per row
            return np.array([list(row.values()) for row in rows])
        array = np.array([np.asarray(row) for row in rows])
        if array.ndim != 2:
            raise ModelFailure(f"the model's output '{output}' is not a probability per class")
        return array

    return run


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=OnnxModel.flavor)
