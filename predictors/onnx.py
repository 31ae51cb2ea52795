"""ONNX models, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import pyfunc_method
from predictors.model.native import Method, Native, implementation_of
from predictors.protocol.errors import ModelFailure
from predictors.runtime.cpus import cpu_limit

# The names that the converters from scikit-learn, XGBoost and LightGBM give to the output with the probabilities.
PROBABILITY_OUTPUTS = ("probabilities", "output_probability")


class OnnxModel(MLflowModel):
    flavor: ClassVar[str] = "onnx"

    def load_native(self, mlmodel: MLmodel) -> Native:
        with threads_of_container():
            implementation = implementation_of(mlmodel, self.flavor)
        session = implementation.rt
        predict = pyfunc_method(mlmodel, implementation)
        methods = {"predict": predict}
        outputs = [output.name for output in session.get_outputs() if output.name in PROBABILITY_OUTPUTS]
        if outputs:
            methods["predict_proba"] = class_probabilities(predict, outputs[0])
        inputs = session.get_inputs()
        shape: list[Any] = inputs[0].shape if len(inputs) == 1 else []
        width = shape[1] if len(shape) == 2 and isinstance(shape[1], int) else None
        return Native(methods=methods, raw=session, width=width)

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.onnx_session import onnx

        return [onnx(native.raw)]


@contextmanager
def threads_of_container() -> Iterator[None]:
    """Sessions that MLflow opens have as many threads as there are CPUs, unless the model says how many."""
    import onnxruntime

    options_of_session = onnxruntime.SessionOptions

    def options() -> Any:
        limited = options_of_session()
        limited.intra_op_num_threads = cpu_limit()
        return limited

    onnxruntime.SessionOptions = options
    try:
        yield
    finally:
        onnxruntime.SessionOptions = options_of_session


def class_probabilities(predict: Method, output: str) -> Method:
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
