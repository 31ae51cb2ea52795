"""PyTorch models: exported programs, TorchScript and pickled modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from predictors.engines.engine import EngineCandidate
from predictors.flavor import MLmodel
from predictors.model.base import MLflowModel
from predictors.model.methods import class_probabilities, pyfunc_method
from predictors.model.native import Method, Native, implementation_of


class PyTorchModel(MLflowModel):
    flavor: ClassVar[str] = "pytorch"

    def load_native(self, mlmodel: MLmodel) -> Native:
        implementation = implementation_of(mlmodel, self.flavor)
        raw = implementation.get_raw_model()
        predict = in_dtype_of(raw, pyfunc_method(mlmodel, implementation))
        methods = {"predict": predict}
        if ends_in_probabilities(raw):
            methods["predict_proba"] = class_probabilities(predict)
        return Native(methods=methods, raw=raw)

    def engines(self, native: Native) -> list[EngineCandidate]:
        from predictors.engines.torch_module import torch

        return [torch(native.raw, dtype_of(native.raw))]


def in_dtype_of(raw: Any, predict: Method) -> Method:
    """`predict` with numbers in the precision of the network: without a signature, those of JSON are doubles."""
    wanted = dtype_of(raw)

    def run(data: Any, params: Mapping[str, Any]) -> Any:
        if wanted is not None and isinstance(data, np.ndarray) and data.dtype == np.float64 != wanted:
            data = data.astype(wanted)
        return predict(data, params)

    return run


def dtype_of(raw: Any) -> np.dtype[Any] | None:
    """The type of all parameters, if numpy has it and they have but one."""
    dtypes = {parameter.dtype for parameter in raw.parameters()}
    return np.dtype(str(dtypes.pop()).removeprefix("torch.")) if len(dtypes) == 1 else None


def ends_in_probabilities(raw: Any) -> bool:
    """Whether the last layer gives probabilities, as far as the model shows it: exported programs do not."""
    import torch

    layers = [module for module in raw.modules() if not list(module.children())]
    return bool(layers) and isinstance(layers[-1], (torch.nn.Softmax, torch.nn.Sigmoid))


if __name__ == "__main__":
    from predictors.mlflow import main

    main(forced_flavor=PyTorchModel.flavor)
